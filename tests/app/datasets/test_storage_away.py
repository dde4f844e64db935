"""The API while its object store does not answer."""

import pytest
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from app.storage import get_storage
from app.tables import Dataset, IdempotencyKey
from tests.app.calls import ROWS, count, refused
from tests.servers import free_port


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
        refused(answer, 503, "storage-unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert count(Dataset) == count(IdempotencyKey) == 0
        refused(api.post("/maintenance/gc"), 503, "storage-unavailable")
