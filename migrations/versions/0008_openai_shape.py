"""Files and jobs of the OpenAI fine-tuning shape.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "openai_files",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_openai_files"),
    )
    op.create_index("ix_openai_files_created_at", "openai_files", ["created_at"])
    op.create_table(
        "openai_jobs",
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("training_file", sa.String(40), nullable=False),
        sa.Column("validation_file", sa.String(40), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_openai_jobs"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_openai_jobs_job_id_jobs", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("openai_jobs")
    op.drop_table("openai_files")
