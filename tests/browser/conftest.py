"""A real browser on a real service: Debian's chromium, driven by Playwright."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.browser.chromium import CHROMIUM, NO_CHROMIUM, headless_chromium
from tests.browser.service import Service, tiny_service
from tests.e2e.service import Json
from tests.servers import redis_server

NewPage = Callable[..., Page]
USUAL = ("status of 4", "ERR_INTERNET_DISCONNECTED")
"""What the browser itself logs as an error: a refusal of the API, and a request of a test that is offline."""
# The five seconds of the library are few on a machine that trains meanwhile.
expect.set_options(timeout=60_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with the module: while Playwright runs, no other test of this thread can start an event loop."""
    with headless_chromium() as started:
        yield started


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The API and a worker as processes, on tiny random models. The tests of this folder share it.

    On a Redis of its own: its worker would take the messages of other tests.
    """
    with redis_server() as redis_url, tiny_service(tmp_path_factory.mktemp("browser"), redis_url) as found:
        yield found


@pytest.fixture(scope="session")
def finished(service: Service) -> Json:
    """A job that has succeeded; its student is `finished`."""
    return service.done("finished")


@pytest.fixture
def new_page(browser: Browser, service: Service) -> Iterator[NewPage]:
    """Makes pages at the service's address. Fails the test if one asks another host for anything, throws an error or logs one."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def make(width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(base_url=service.url, viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)

        def asked(request: Request) -> None:
            if not request.url.startswith((service.url, "blob:", "data:")):
                faults.append(f"asked {request.url}")

        context.on("request", asked)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error {error}"))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" and not any(map(said.text.count, USUAL)) else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []
