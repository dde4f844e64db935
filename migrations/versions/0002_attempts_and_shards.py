"""Stage runs: shards, back-off, less memory after a failure, peak memory.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Batch mode: SQLite cannot change a constraint in place, so the table is copied.
    with op.batch_alter_table("stage_runs") as batch:
        batch.add_column(sa.Column("shard", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("shrink", sa.Integer(), nullable=False, server_default="1"))
        batch.add_column(sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("peak_bytes", sa.BigInteger(), nullable=True))
        batch.drop_constraint("uq_stage_runs_job_id_stage", type_="unique")
        batch.create_unique_constraint("uq_stage_runs_job_id_stage_shard", ["job_id", "stage", "shard"])
        batch.create_index("ix_stage_runs_finished_at", ["finished_at"])


def downgrade() -> None:
    op.execute("DELETE FROM stage_runs WHERE shard > 0")
    with op.batch_alter_table("stage_runs") as batch:
        batch.drop_index("ix_stage_runs_finished_at")
        batch.drop_constraint("uq_stage_runs_job_id_stage_shard", type_="unique")
        batch.create_unique_constraint("uq_stage_runs_job_id_stage", ["job_id", "stage"])
        for column in ("peak_bytes", "not_before", "shrink", "shard"):
            batch.drop_column(column)
