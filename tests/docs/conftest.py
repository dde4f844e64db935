"""One job on tiny models, run once; each page's service begins where that has ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.docs.before import SETTINGS
from tests.docs.models import save_models
from tests.docs.service import copy_of, run_example, service


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path, redis_process_url: str) -> Path:
    """The data of a service that has distilled the bundled example: what a page asks for again is there, and reused."""
    folder = tmp_path_factory.mktemp("distilled")
    with service(folder, tiny_models, redis_process_url) as url:
        run_example(url, "warm-up")
    return folder / "data"


@pytest.fixture
def page_service(name: str, tmp_path: Path, distilled: Path, tiny_models: Path, redis_process_url: str) -> Iterator[str]:
    """The address of a service of the test's own, with the settings that the page `name` takes for granted."""
    with redis.Redis.from_url(redis_process_url) as connection:
        connection.flushall()
    copy_of(distilled, tmp_path)
    with service(tmp_path, tiny_models, redis_process_url, SETTINGS.get(name)) as url:
        yield url
