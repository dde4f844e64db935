"""Alembic's entry point, for `app.migrate` (which brings a connection) and for the `alembic` command."""

from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from app.config import get_settings
from app.migrate import migration_connection
from app.tables import Base, UtcDateTime


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | bool:
    # Migrations must outlive the application's types.
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item)
    with context.begin_transaction():
        context.run_migrations()


def run_offline(url: str) -> None:
    """Prints the SQL instead of running it (`alembic upgrade head --sql`)."""
    context.configure(url=url, target_metadata=Base.metadata, literal_binds=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    run_offline(get_settings().resolved_database_url())
else:
    with migration_connection(get_settings().resolved_database_url()) as connection:
        run(connection)
