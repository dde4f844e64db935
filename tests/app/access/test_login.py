"""The page's session, and who cannot use it."""

import time

import pytest
from itsdangerous import TimestampSigner
from starlette.testclient import TestClient

from app.access.sessions import COOKIE, SESSION_SECONDS
from app.config import Settings
from app.main import create_app
from tests.app.access.conftest import make_key
from tests.app.calls import refused

OWN = {"Origin": "http://testserver"}
PAGE = {"Accept": "text/html"}


def log_in(client: TestClient, key: str, target: str = "/", headers: dict[str, str] = OWN) -> int:
    return client.post("/ui/login", data={"key": key, "next": target}, headers=headers, follow_redirects=False).status_code


def test_a_page_sends_to_the_login_and_the_login_back(lite: TestClient) -> None:
    sent = lite.get("/ui/jobs?status=running", headers=PAGE, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/ui/login?next=%2Fui%2Fjobs%3Fstatus%3Drunning")
    form = lite.get(sent.headers["location"], headers=PAGE)
    assert 'value="/ui/jobs?status=running"' in form.text
    answer = lite.post("/ui/login", data={"key": make_key("read"), "next": "/ui/jobs"}, headers=OWN, follow_redirects=False)
    assert answer.headers["location"] == "/ui/jobs"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    page = lite.get("/ui/jobs", headers=PAGE)
    assert page.status_code == 200
    assert "a key" in page.text
    assert lite.get("/jobs").status_code == 200  # what the page's scripts ask


def test_over_tls_the_cookie_stays_on_tls(lite: TestClient) -> None:
    secure = TestClient(lite.app, base_url="https://testserver")
    answer = secure.post("/ui/login", data={"key": make_key("read")}, headers={"Origin": "https://testserver"}, follow_redirects=False)
    assert "Secure" in answer.headers["set-cookie"]


def test_a_wrong_key_is_told_and_not_shown_again(lite: TestClient) -> None:
    answer = lite.post("/ui/login", data={"key": "gd_wrong<script>"}, headers=OWN)
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert "gd_wrong" not in answer.text
    assert lite.cookies == {}


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example", ""]
)
def test_the_login_leads_to_no_other_site(lite: TestClient, target: str) -> None:
    answer = lite.post("/ui/login", data={"key": make_key("read"), "next": target}, headers=OWN, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_another_sites_page_changes_nothing(lite: TestClient) -> None:
    assert log_in(lite, make_key("operator")) == 303
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", **OWN},
    ):
        refused(lite.post("/maintenance/gc", headers=headers), 403, "cross-site-request")
    assert lite.post("/maintenance/gc", headers=OWN).status_code == 200
    assert lite.post("/maintenance/gc", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    lite.cookies.clear()
    assert log_in(lite, make_key("read"), headers={"Origin": "https://evil.example"}) == 403


def test_logging_out_ends_the_session_here(lite: TestClient) -> None:
    log_in(lite, make_key("read"))
    assert lite.post("/ui/logout", headers=OWN, follow_redirects=False).status_code == 303
    assert lite.cookies == {}
    assert lite.get("/jobs").status_code == 401


def test_a_session_ends_with_its_key_and_grants_no_more_than_it(lite: TestClient) -> None:
    admin = make_key("admin")
    log_in(lite, make_key("read"))
    refused(lite.post("/keys", json={}, headers=OWN), 403, "scope-missing")
    own = lite.get("/keys", headers={"Authorization": f"Bearer {admin}"}).json()["items"][0]["id"]
    lite.delete(f"/keys/{own}", headers={"Authorization": f"Bearer {admin}"})
    assert lite.get("/jobs").status_code == 401


def test_a_cookie_of_ones_own_making_is_none(lite: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(lite, make_key("admin"))
    good = lite.cookies[COOKIE]
    for cookie in (good[:-2] + "AA", good.partition(".")[0], "", "e30.x.y", good.replace(".", "..", 1)):
        lite.cookies.clear()
        assert lite.get("/jobs", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401
    later = int(time.time()) + SESSION_SECONDS + 1
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: later)
    assert lite.get("/jobs", headers={"Cookie": f"{COOKIE}={good}"}).status_code == 401


def test_a_session_is_good_in_another_process_of_the_same_folder(lite: TestClient, service_env: Settings) -> None:
    log_in(lite, make_key("read"))
    with TestClient(create_app()) as other:
        assert other.get("/jobs", headers={"Cookie": f"{COOKIE}={lite.cookies[COOKIE]}"}).status_code == 200
    assert (service_env.data_dir / "session.secret").stat().st_mode & 0o077 == 0
