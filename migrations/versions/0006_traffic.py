"""What versions have answered, by day and process.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "traffic",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("process", sa.String(32), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("texts", "pieces", "unknown")),
        *(sa.Column(name, sa.JSON(), nullable=False) for name in ("labels", "scores")),
        sa.PrimaryKeyConstraint("name", "version", "day", "process", name="pk_traffic"),
    )
    op.create_index("ix_traffic_day", "traffic", ["day"])


def downgrade() -> None:
    op.drop_table("traffic")
