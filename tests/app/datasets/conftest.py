"""The dataset routes on real parts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.config import Settings
from app.datasets.routes import router
from app.errors import install_handlers


@pytest.fixture
def stored(service_env: Settings) -> Callable[[], list[str]]:
    """Lists the files in the blob store."""
    folder = Path(service_env.resolved_storage_url().removeprefix("file://"))
    return lambda: sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def api(service_env: Settings) -> Iterator[TestClient]:
    """The dataset routes alone, in `service_env`."""
    app = FastAPI()
    app.include_router(router)
    install_handlers(app)
    with TestClient(app) as client:
        yield client
