"""Confidence: the calibrated probability that a caption is right. Older rows have none."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("captions", sa.Column("confidence", sa.Double(), nullable=True))
