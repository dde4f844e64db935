"""Bulk predictions.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bulk_predictions",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("student", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("artefact_key", sa.String(64), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("layout", sa.JSON(), nullable=False),
        sa.Column("input_hash", sa.String(64), nullable=False),
        sa.Column("input_bytes", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("rows", "rows_done", "rows_before")),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(200), nullable=True),
        sa.Column("parts", sa.JSON(), nullable=True),
        sa.Column("result_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=True)
            for name in ("queued_at", "not_before", "started_at", "heartbeat_at", "finished_at")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_bulk_predictions"),
    )
    op.create_index("ix_bulk_predictions_status", "bulk_predictions", ["status"])
    op.create_index("ix_bulk_predictions_created_at", "bulk_predictions", ["created_at"])


def downgrade() -> None:
    op.drop_table("bulk_predictions")
