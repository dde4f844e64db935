"""Every route, asked by every kind of caller. The routes come from the application itself, so a new one is asked too."""

import re
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from app.openapi import needs_of
from app.principals import SCOPES, granted
from tests.app.access.conftest import bearer, make_key

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/ui/login"),
    ("POST", "/ui/login"),
    ("POST", "/ui/logout"),
    ("GET", "/ui/static/{digest}/{name}"),
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
}
"""All that anyone may ask. Add to it only what tells nothing of what users sent, and starts nothing."""
ADMIN = ("/keys", "/audit", "/webhooks")
OPERATOR = ("/maintenance", "/projects")


@dataclass(frozen=True)
class Call:
    method: str
    template: str

    @property
    def path(self) -> str:
        return re.sub(r"\{[^}]*\}", "1", self.template)


def calls(client: TestClient) -> list[Call]:
    assert isinstance(client.app, FastAPI)
    found = [Call(method, route.path or "") for route in iter_route_contexts(client.app.routes) for method in sorted(route.methods or ())]
    assert len(found) > 80
    return found


def told(client: TestClient, call: Call, headers: dict[str, str]) -> tuple[int, str]:
    """The status, and the error in a few words, in the shape of the route's protocol."""
    answer = client.request(call.method, call.path, headers={"Origin": "http://testserver", **headers}, follow_redirects=False)
    if answer.status_code not in {401, 403} or call.method == "HEAD":
        return answer.status_code, ""
    body = answer.json()
    if call.path.startswith("/v1"):
        return answer.status_code, body["error"]["code"].replace("_", "-")
    if call.path.startswith(("/v2", "/hf")):
        assert set(body) == {"error"}
        return answer.status_code, "scope-missing" if "lacks the scope" in body["error"] else "unauthenticated"
    assert body["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, body["type"].rpartition(":")[2]


def test_without_a_good_key_nothing_is_told_but_what_is_public(lite: TestClient) -> None:
    no_good = {
        "no key": {},
        "unknown": bearer("gd_0123456789ab_" + "x" * 43),
        "garbage": bearer("\x7f"),
        "another scheme": {"Authorization": "Basic Z2Q6Z2Q="},
        "expired": bearer(make_key("admin", expired=True)),
        "revoked": bearer(make_key("admin", revoked=True)),
    }
    faults = []
    for caller, headers in no_good.items():
        for call in calls(lite):
            status, _ = told(lite, call, headers)
            # Whoever shows a bad key learns so even where none is needed.
            public = (call.method, call.template) in PUBLIC and not headers
            if (status == 401) == public or status >= 500:
                faults.append((caller, call, status))
    assert faults == []


def test_a_key_reaches_what_its_scopes_name_and_nothing_else(lite: TestClient) -> None:
    assert isinstance(lite.app, FastAPI)
    needs = needs_of(lite.app.routes)
    keys = {scope: bearer(make_key(scope)) for scope in SCOPES}
    faults = []
    for scope, headers in keys.items():
        for call in calls(lite):
            need = needs[call.method, call.template]
            status, error = told(lite, call, headers)
            allowed = need == "public" or need in granted([scope])
            refused = status == 403 and error in {"scope-missing", ""}
            if status == 401 or status >= 500 or (refused if allowed else not refused):
                faults.append((scope, call, need, status, error))
    assert faults == []


def test_what_is_for_admins_and_what_is_public_is_as_listed_here(lite: TestClient) -> None:
    assert isinstance(lite.app, FastAPI)
    needs = needs_of(lite.app.routes)
    assert {call for call, need in needs.items() if need == "public"} == PUBLIC
    assert {path for (_, path), need in needs.items() if need == "admin"} == {path for _, path in needs if path.startswith(ADMIN)}
    operators = {(method, path) for method, path in needs if path.startswith(OPERATOR)} - {("GET", "/projects/{project_id}")}
    assert {call for call, need in needs.items() if need == "operator"} == operators
    assert {call for call, need in needs.items() if need == "metrics"} == {("GET", "/metrics")}
    assert {need for (method, _), need in needs.items() if method in {"PUT", "PATCH", "DELETE"}} <= {
        "write",
        "admin",
        "predict",
        "operator",
    }
    writing = {path for (method, path), need in needs.items() if method == "POST" and need == "read"}
    assert writing == {"/ui/new/check"}  # reads a file that it is sent, and keeps nothing


def test_a_path_that_no_route_has_is_not_told_from_one_that_there_is(lite: TestClient) -> None:
    assert lite.get("/nothing/here").status_code == 401
    assert lite.get("/nothing/here", headers=bearer(make_key("read"))).status_code == 404
    assert lite.put("/jobs", headers=bearer(make_key("read"))).status_code == 405


def test_odd_ways_to_write_a_path_open_nothing(lite: TestClient) -> None:
    key = bearer(make_key("predict"))
    for path in ("//keys", "/keys/", "/./keys", "/%6beys", "/keys%2f", "/KEYS", "/ui/../keys", "/healthz/../keys", "/keys;x=1", "/keys%00"):
        assert lite.get(path, headers=key, follow_redirects=False).status_code in {307, 400, 403, 404}, path
        assert lite.get(path, follow_redirects=False).status_code in {400, 401}, path
