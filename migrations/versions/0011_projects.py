"""Projects: whose each row is, their quotas, and what their stages took.

Revision ID: 0011
Revises: 0010
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_DEFAULT = "default"
_PLAIN = (
    "alias_moves", "api_keys", "audit_log", "bulk_predictions", "datasets", "events", "jobs", "openai_files", "openai_jobs", "stage_runs",
    "webhook_deliveries", "webhooks",
)  # fmt: skip
_KEYED = {
    "aliases": ["name", "alias"],
    "idempotency_keys": ["key"],
    "retired_versions": ["name"],
    "shadows": ["name"],
    "traffic": ["name", "version", "day", "process"],
}
_INDEXES = {
    "alias_moves": (["name", "alias", "id"], ["project_id", "name", "alias", "id"]),
    "bulk_predictions": (["created_at"], ["project_id", "created_at"]),
    "openai_files": (["created_at"], ["project_id", "created_at"]),
    "webhooks": (["created_at"], ["project_id", "created_at"]),
}


def upgrade() -> None:
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("jobs_running", sa.Integer(), nullable=True),
        sa.Column("jobs_open", sa.Integer(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("minutes_per_month", sa.Double(), nullable=True),
        sa.Column("texts_per_second", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
    )
    op.bulk_insert(projects, [{"id": _DEFAULT, "created_at": datetime.now(UTC)}])
    op.create_table(
        "usage",
        _owner(),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "month", name="pk_usage"),
    )
    for table in _PLAIN:
        op.add_column(table, _owner())
    for table, key in _KEYED.items():
        _rekey(table, ["project_id", *key], add=True)
    with op.batch_alter_table("students") as batch:
        batch.add_column(_owner())
        batch.drop_constraint("uq_students_name_version", type_="unique")
        batch.create_unique_constraint("uq_students_project_id_name_version", ["project_id", "name", "version"])
    for table, (old, new) in _INDEXES.items():
        op.drop_index(_index(table, old), table)
        op.create_index(_index(table, new), table, new)
    for old in ("name", "created_at"):
        op.drop_index(_index("jobs", [old]), "jobs")
        op.create_index(_index("jobs", ["project_id", old]), "jobs", ["project_id", old])
    op.drop_index(_index("stage_runs", ["status"]), "stage_runs")
    for table in ("jobs", "stage_runs"):
        op.create_index(_index(table, ["status", "project_id"]), table, ["status", "project_id"])
    op.add_column("stage_runs", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("stage_runs", sa.Column("artefact_bytes", sa.BigInteger(), nullable=True))
    op.add_column("datasets", sa.Column("shared_hash", sa.String(64), nullable=True))
    op.add_column("datasets", sa.Column("bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(_index("stage_runs", ["project_id", "started_at"]), "stage_runs", ["project_id", "started_at"])


def downgrade() -> None:
    op.drop_index(_index("stage_runs", ["project_id", "started_at"]), "stage_runs")
    op.drop_column("datasets", "bytes")
    op.drop_column("datasets", "shared_hash")
    op.drop_column("stage_runs", "artefact_bytes")
    op.drop_column("stage_runs", "claimed_at")
    for table in ("jobs", "stage_runs"):
        op.drop_index(_index(table, ["status", "project_id"]), table)
    op.create_index(_index("stage_runs", ["status"]), "stage_runs", ["status"])
    for old in ("name", "created_at"):
        op.drop_index(_index("jobs", ["project_id", old]), "jobs")
        op.create_index(_index("jobs", [old]), "jobs", [old])
    for table, (old, new) in _INDEXES.items():
        op.drop_index(_index(table, new), table)
        op.create_index(_index(table, old), table, old)
    with op.batch_alter_table("students") as batch:
        batch.drop_constraint("uq_students_project_id_name_version", type_="unique")
        batch.drop_column("project_id")
        batch.create_unique_constraint("uq_students_name_version", ["name", "version"])
    for table, key in _KEYED.items():
        _rekey(table, key, add=False)
    for table in _PLAIN:
        op.drop_column(table, "project_id")
    op.drop_table("usage")
    op.drop_table("projects")


def _owner() -> sa.Column[str]:
    return sa.Column("project_id", sa.String(40), nullable=False, server_default=_DEFAULT)


def _index(table: str, columns: list[str]) -> str:
    return f"ix_{table}_{'_'.join(columns)}"


def _rekey(table: str, key: list[str], *, add: bool) -> None:
    """No table refers to these, so that SQLite may rebuild them."""
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(f"pk_{table}", type_="primary")
        if add:
            batch.add_column(_owner())
        else:
            batch.drop_column("project_id")
        batch.create_primary_key(f"pk_{table}", key)
