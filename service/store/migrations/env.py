"""Entry point of Alembic: run migrations within the transaction of the service."""

from alembic import context

from service.store.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
context.run_migrations()
