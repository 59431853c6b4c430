"""What Alembic runs to bring a database up to date: within the transaction that the service has begun."""

from alembic import context

from service.store.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
context.run_migrations()
