"""The security headers are on every answer of every route, in whatever way it ends."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from app.config import Settings
from app.main import create_app
from tests.conftest import clear_caches

NOTHING = {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}
OWN = {"default-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "object-src 'none'"}


@pytest.fixture(params=["off", "required"])
def api(request: pytest.FixtureRequest, service_env: Settings, clean_settings: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service that asks for no key, and one that refuses everybody who has none."""
    clean_settings.setenv("GENDISTIL_KEYS", request.param)
    clear_caches()
    with TestClient(create_app(), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


def faults(answer_headers: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the headers of an answer."""
    headers = dict(answer_headers)
    names = [name for name, _ in answer_headers]
    page = headers.get("content-type", "").startswith("text/html")
    policy = set(headers.get("content-security-policy", "").split("; "))
    expected = {
        "x-content-type-options": "nosniff",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "same-origin" if page else "no-referrer",
    }
    found = [f"{name}: {headers.get(name)}" for name, value in expected.items() if headers.get(name) != value]
    found += [f"{name} twice" for name in {*expected, "content-security-policy", "x-request-id"} if names.count(name) != 1]
    if policy != (OWN if page else NOTHING):
        found.append(f"policy {sorted(policy)}")
    if page and "camera=()" not in headers.get("permissions-policy", ""):
        found.append("no permissions policy")
    return found + [name for name in ("server", "x-powered-by") if name in headers]


def test_every_route_answers_with_the_security_headers(api: TestClient) -> None:
    assert isinstance(api.app, FastAPI)
    calls = {
        (method, re.sub(r"\{[^}]*\}", "1", route.path or ""))
        for route in iter_route_contexts(api.app.routes)
        for method in [*(route.methods or ()), "TRACE"]
    }
    assert len(calls) > 80
    wrong = {}
    statuses = set()
    for method, path in sorted(calls):
        answer = api.request(method, path, headers={"Accept": "text/html"} if path.startswith("/ui") else {})
        statuses.add(answer.status_code)
        if found := faults(answer.headers.multi_items()):
            wrong[method, path, answer.status_code] = found
    assert wrong == {}
    assert statuses >= ({200, 303, 401} if api.app.state.keyring else {200, 404, 405, 422})


@pytest.mark.parametrize("path", ["/nothing/here", "/ui/nothing", "/ui/static/x/site.css", "/ui/static/x/none.js", "/docs/"])
def test_what_no_route_takes_and_files_have_them_too(api: TestClient, path: str) -> None:
    assert faults(api.get(path).headers.multi_items()) == []


@pytest.mark.parametrize("api", ["off"], indirect=True)
def test_what_nobody_foresaw_has_them_too(api: TestClient) -> None:
    assert isinstance(api.app, FastAPI)

    @api.app.get("/fault")
    def fault() -> None:
        raise ZeroDivisionError

    answer = api.get("/fault")
    assert answer.status_code == 500
    assert faults(answer.headers.multi_items()) == []
