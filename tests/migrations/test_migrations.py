import os
import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from app.database import make_engine
from app.migrate import downgrade, migrations_folder, upgrade
from app.tables import Base


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def differences(url: str) -> list[object]:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))
    finally:
        engine.dispose()


def test_an_empty_database_becomes_exactly_the_models(database_url: str) -> None:
    upgrade(database_url)
    assert tables(database_url) == {*Base.metadata.tables, "alembic_version"}
    assert differences(database_url) == []


def test_a_missing_column_would_be_noticed(database_url: str) -> None:
    upgrade(database_url)
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE stage_runs DROP COLUMN worker"))
    engine.dispose()
    assert [difference[0] for difference in differences(database_url)] == ["add_column"]  # type: ignore[index]  # Alembic types neither of its two shapes


def test_downgrade_leaves_nothing_and_upgrade_works_again(database_url: str) -> None:
    upgrade(database_url)
    downgrade(database_url, "base")
    assert tables(database_url) <= {"alembic_version"}
    upgrade(database_url)
    assert differences(database_url) == []


def test_upgrade_keeps_rows(database_url: str) -> None:
    upgrade(database_url)
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.execute(Base.metadata.tables["aliases"].insert(), {"name": "triage", "alias": "latest", "version": 3})
    upgrade(database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM aliases")) == 3
    engine.dispose()


def test_processes_that_start_at_once_all_succeed(database_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, "GENDISTIL_DATABASE_URL": database_url}
    # Away from the repository: the command must find its migrations without it.
    command = [sys.executable, "-m", "app.migrate"]
    started = [subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
    assert differences(database_url) == []


def test_a_new_data_folder_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'folder' / 'gendistil.db'}"
    upgrade(url)
    assert differences(url) == []


def test_one_line_of_revisions() -> None:
    script = ScriptDirectory(str(migrations_folder()))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
