"""Rows that a job is not to leave behind.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("datasets") as batch:
        batch.add_column(sa.Column("rows_removed_at", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("rows_removal", sa.String(10), nullable=True))
        batch.create_index("ix_jobs_rows_removal", ["rows_removal"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.drop_index("ix_jobs_rows_removal")
        batch.drop_column("rows_removal")
    with op.batch_alter_table("datasets") as batch:
        batch.drop_column("rows_removed_at")
