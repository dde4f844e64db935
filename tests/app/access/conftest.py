"""A service that asks for API keys, and keys of every kind."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from app.access import service
from app.access.schemas import KeyIn
from app.config import Settings
from app.database import transaction
from app.main import create_app
from app.principals import Scope
from app.tables import ApiKey, utcnow
from tests.conftest import clear_caches

MakeKey = Callable[..., str]


def make_key(
    *scopes: Scope, name: str = "a key", expired: bool = False, revoked: bool = False, texts_per_second: float | None = None
) -> str:
    """The text of a new key."""
    with transaction() as session:
        made = service.create_key(session, KeyIn(name=name, scopes=list(scopes), texts_per_second=texts_per_second))
        if expired:
            session.execute(update(ApiKey).where(ApiKey.id == made.id).values(expires_at=utcnow() - timedelta(seconds=1)))
        if revoked:
            service.revoke_key(session, made.id)
    return made.key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def api(each_service_env: Settings, clean_settings: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """On SQLite and on PostgreSQL in turn."""
    clean_settings.setenv("GENDISTIL_KEYS", "required")
    clear_caches()
    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def lite(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """On SQLite alone."""
    clean_settings.setenv("GENDISTIL_KEYS", "required")
    clear_caches()
    with TestClient(create_app()) as client:
        yield client
