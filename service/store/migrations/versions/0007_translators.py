"""Translators: data sets of parallel text, and versions and promotions of translators beside those of captioners."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("kind", sa.String(), nullable=False, server_default="photos"))
    for table in ("versions", "promotions"):
        op.add_column(table, sa.Column("language", sa.String(), nullable=False, server_default=""))
