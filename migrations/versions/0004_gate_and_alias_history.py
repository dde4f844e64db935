"""The gate before `latest`, the history of aliases, shadows, and versions that no job has made.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("promote", sa.String(20), nullable=False, server_default="if_not_worse"))
        batch.add_column(sa.Column("promote_reason", sa.Text(), nullable=True))
    with op.batch_alter_table("students") as batch:
        batch.alter_column("job_id", existing_type=sa.String(40), nullable=True)
        batch.add_column(sa.Column("promotion", sa.JSON(), nullable=True))
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("alias", sa.String(100), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("to_version", sa.Integer(), nullable=True),
        sa.Column("cause", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alias_moves"),
    )
    op.create_index("ix_alias_moves_name_alias_id", "alias_moves", ["name", "alias", "id"])
    op.create_table(
        "shadows",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("texts", "agreed", "dropped", "failed")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("seconds", "shadow_seconds")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_shadows"),
    )


def downgrade() -> None:
    op.drop_table("shadows")
    op.drop_table("alias_moves")
    op.execute("DELETE FROM aliases WHERE (name, version) IN (SELECT name, version FROM students WHERE job_id IS NULL)")
    op.execute("DELETE FROM students WHERE job_id IS NULL")
    with op.batch_alter_table("students") as batch:
        batch.drop_column("promotion")
        batch.alter_column("job_id", existing_type=sa.String(40), nullable=False)
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("promote_reason")
        batch.drop_column("promote")
