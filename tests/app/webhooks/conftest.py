"""The API and a sender on both databases, a receiver on loopback, and names that mean what the test says."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.webhooks.attempts import _tls
from app.webhooks.sender import Sender
from tests.app.webhooks.names import Names
from tests.app.webhooks.receiver import Receiver, receiver

Json = dict[str, Any]


@pytest.fixture
def on_loopback(clean_settings: pytest.MonkeyPatch) -> None:
    """Messages may go to 127.0.0.1."""
    clean_settings.setenv("GENDISTIL_WEBHOOKS__ALLOWED_NETWORKS", '["127.0.0.0/8"]')


@pytest.fixture
def api(on_loopback: None, each_service_env: Settings) -> Iterator[TestClient]:
    """The whole API, on SQLite and on PostgreSQL in turn."""
    from app.main import create_app

    with TestClient(create_app()) as client:
        yield client


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def fresh_trust() -> Iterator[None]:
    """Authorities are read when the first message is sent."""
    _tls.cache_clear()
    yield
    _tls.cache_clear()


def subscribe(api: TestClient, url: str, **fields: Any) -> Json:
    """The webhook that POST /webhooks makes, with its secret."""
    answer = api.post("/webhooks", json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    webhook: Json = answer.json()
    return webhook


def log(api: TestClient, webhook: Json) -> list[Json]:
    """Its deliveries, the oldest first."""
    answer = api.get(f"/webhooks/{webhook['id']}/deliveries", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found[::-1]


def deliver() -> None:
    """Sends all that is due, as the thread in a worker does."""

    async def send() -> None:
        sender = Sender(get_settings().webhooks)
        while await sender.send_due():
            await sender.idle()

    asyncio.run(send())
