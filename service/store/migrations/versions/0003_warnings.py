"""Warnings: reasons to doubt a caption. Older rows have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("captions", sa.Column("warnings", sa.JSON(none_as_null=True), nullable=True))
