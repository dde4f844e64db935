"""Names in memory, on real databases that others write to."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete, text
from sqlalchemy.exc import SQLAlchemyError

from app.contracts.projects import DEFAULT_PROJECT
from app.database import get_engine, transaction
from app.errors import ServiceError
from app.jobs.aliases import LATEST, Cause, set_alias
from app.predictions import resolver as module
from app.predictions.resolver import Resolver, Served
from app.tables import Student
from tests.app.predictions.conftest import statements
from tests.waiting import wait_for

NEVER = 3600.0


@pytest.fixture
def database(migrated_database_url: str, clean_settings: pytest.MonkeyPatch) -> str:
    clean_settings.setenv("DATABASE_URL", migrated_database_url)
    return migrated_database_url


@pytest.fixture
def start() -> Iterator[Callable[..., Resolver]]:
    """A resolver that compares its memory with the database, until the test ends."""
    started: list[Resolver] = []

    def make(seconds: float = NEVER, **more: Callable[[dict[str, str]], None]) -> Resolver:
        resolver = Resolver(seconds, **more)
        resolver.refresh()
        resolver.start()
        started.append(resolver)
        return resolver

    yield make
    for resolver in started:
        resolver.stop()


def publish(name: str, version: int, *, latest: bool = True) -> Served:
    key = f"{name}-{version}"
    with transaction() as session:
        session.add(Student(name=name, version=version, kind="bag", artefact_key=key, manifest={}))
        session.flush()
        if latest:
            set_alias(session, name, LATEST, version, Cause.PUBLISH)
    return Served(name, version, key, DEFAULT_PROJECT)


def move(name: str, alias: str, version: int) -> None:
    with transaction() as session:
        set_alias(session, name, alias, version, Cause.CALLER)


def test_all_forms_of_a_name_resolve_without_the_database(database: str, start: Callable[..., Resolver]) -> None:
    first, second = publish("triage", 1), publish("triage", 2)
    move("triage", "champion", 1)
    resolver = start()
    with statements() as sent:
        assert resolver.find("triage") == resolver.find("triage@latest") == resolver.find("triage:2") == second
        assert resolver.find("triage@champion") == resolver.find("triage:1") == first
        assert resolver.find("triage:3") is resolver.find("other") is resolver.find("triage@best") is None
    assert sent == []


def test_what_another_process_does_is_noticed(database: str, start: Callable[..., Resolver]) -> None:
    first = publish("triage", 1)
    resolver = start(0.01)
    second = publish("triage", 2, latest=False)
    wait_for(lambda: resolver.find("triage:2") == second)
    assert resolver.find("triage") == first
    move("triage", LATEST, 2)
    wait_for(lambda: resolver.find("triage") == second)
    move("triage", LATEST, 1)
    wait_for(lambda: resolver.find("triage") == first)
    with transaction() as session:
        session.execute(delete(Student).where(Student.version == 2))
    wait_for(lambda: resolver.find("triage:2") is None)
    # SQLite gives the deleted row's id a second time.
    third = publish("triage", 3, latest=False)
    wait_for(lambda: resolver.find("triage:3") == third)


def test_a_publication_of_a_moment_ago_is_looked_up(database: str, start: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = start()
    with pytest.raises(ServiceError, match="no student 'triage'"):
        resolver.look_up("triage")
    first = publish("triage", 1)
    assert module.MISS_SECONDS > 0
    monkeypatch.setattr(module, "MISS_SECONDS", 0.0)  # as if so long had passed
    assert resolver.look_up("triage:001") == first
    assert resolver.find("triage") == first


def test_unknown_names_do_not_reach_the_database_each_time(
    database: str, start: Callable[..., Resolver], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("triage", 1)
    resolver = start()
    monkeypatch.setattr(module, "MISS_SECONDS", NEVER)
    monkeypatch.setattr(module, "MAX_REFUSALS", 2)
    for name in ("triagee", "other"):
        with pytest.raises(ServiceError):
            resolver.look_up(name)
    with statements() as sent:
        with pytest.raises(ServiceError, match="no student 'triagee'") as close:
            resolver.look_up("triagee")
        with pytest.raises(ServiceError, match="no student 'third'") as third:
            resolver.look_up("third")
        with pytest.raises(ServiceError, match="names no student") as malformed:
            resolver.look_up("triage@")
    assert sent == []
    assert "triage" in (close.value.problem.remedy or "")
    assert (third.value.problem.status, malformed.value.problem.status) == (404, 422)


def test_known_names_outlive_the_database(database: str, start: Callable[..., Resolver]) -> None:
    first = publish("triage", 1)
    resolver = start(0.01)
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE aliases RENAME TO away"))
    with pytest.raises(SQLAlchemyError):
        resolver.refresh()
    assert resolver.find("triage") == first
    with pytest.raises(SQLAlchemyError):
        resolver.look_up("other")
    with get_engine().begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO aliases"))
    second = publish("triage", 2)
    wait_for(lambda: resolver.find("triage") == second)


def test_a_version_is_warmed_before_its_name_leads_there(database: str, start: Callable[..., Resolver]) -> None:
    first = publish("triage", 1)
    seen: list[tuple[dict[str, str], Served | None]] = []
    resolver = start(warm=lambda moved: seen.append((moved, resolver.find("triage"))) if moved else None)
    second = publish("triage", 2)
    resolver.refresh()
    assert seen == [({"triage-1": "triage-2"}, first)]
    assert resolver.find("triage") == second
