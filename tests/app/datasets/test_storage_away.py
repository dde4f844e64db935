"""The API while its object store does not answer."""

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.database import transaction
from app.main import create_app
from app.storage import get_storage
from app.tables import Dataset, IdempotencyKey
from tests.servers import free_port

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("lost card", "top up") for number in range(6)]


@pytest.fixture
def storage_away(service_env: Settings, clean_settings: pytest.MonkeyPatch) -> None:
    """Nothing listens where the bucket should be."""
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    for name, value in {**variables, "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}.items():
        clean_settings.setenv(name, value)
    clean_settings.setattr(service_env, "storage_url", "s3://bucket/prefix")
    get_storage.cache_clear()


@pytest.mark.usefixtures("storage_away")
def test_a_request_that_needs_it_may_be_sent_again() -> None:
    with TestClient(create_app()) as api:
        answer = api.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": "key"})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:gendistil:storage-unavailable"), answer.text
        assert int(answer.headers["retry-after"]) > 0
        with transaction() as session:
            assert session.query(Dataset).count() == session.query(IdempotencyKey).count() == 0
        assert api.post("/maintenance/gc").status_code == 503
