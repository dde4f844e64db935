"""One attempt, to receivers of all kinds."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.config import WebhookSettings
from app.webhooks.attempts import ANSWER_BYTES, Outcome, attempt
from tests.app.webhooks.names import Names
from tests.app.webhooks.receiver import Receiver, certificate, receiver
from tests.servers import free_port

BODY = b'{"type":"webhook.test"}'


def send(url: str, **settings: Any) -> Outcome:
    allowed: dict[str, Any] = {"allowed_networks": ["127.0.0.0/8"], "total_seconds": 20.0, "connect_seconds": 10.0, **settings}
    return asyncio.run(attempt(url, BODY, {"webhook-id": "msg_1"}, WebhookSettings(**allowed)))


def failure(outcome: Outcome) -> str:
    assert outcome.error is not None
    assert outcome.error["detail"]
    return str(outcome.error["type"])


def test_what_arrives(target: Receiver) -> None:
    assert send(target.url("/thanks")) == Outcome(200, "thank\ufffd you")
    (message,) = target.received
    assert message.body == BODY
    assert message.headers["host"] == f"127.0.0.1:{target.port}"
    assert message.headers["content-type"] == "application/json"
    assert message.headers["user-agent"].startswith("gendistil/")
    assert message.id == "msg_1"


def test_a_receiver_that_fails(target: Receiver) -> None:
    outcome = send(target.url("/fail"))
    assert (outcome.status_code, outcome.answer, failure(outcome)) == (500, "out of order", "refused")


def test_redirects_are_not_followed(target: Receiver) -> None:
    outcome = send(target.url("/redirect"))
    assert (outcome.status_code, failure(outcome)) == (307, "redirect")
    assert target.paths() == ["/redirect"]


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_a_receiver_that_does_not_come_to_an_end(target: Receiver, path: str) -> None:
    outcome = send(target.url(path), total_seconds=0.5)
    assert (outcome.status_code, failure(outcome)) == (None, "timeout")
    assert target.paths() == [path]


def test_of_a_huge_answer_only_the_beginning_is_read(target: Receiver) -> None:
    outcome = send(target.url("/huge"))
    assert (outcome.status_code, outcome.answer) == (500, "z" * ANSWER_BYTES)


def test_a_status_counts_though_the_body_does_not_come(target: Receiver) -> None:
    assert send(target.url("/dangling")) == Outcome(200, "abc")


def test_a_receiver_that_closes_early(target: Receiver) -> None:
    assert failure(send(target.url("/early"))) == "connection"


def test_nobody_listens() -> None:
    assert failure(send(f"http://127.0.0.1:{free_port()}/")) == "connection"


def test_an_address_that_may_not_be_reached(target: Receiver) -> None:
    outcome = send(target.url(), allowed_networks=["10.0.0.0/8"])
    assert failure(outcome) == "address-refused"
    assert target.received == []


def test_a_wait_that_the_receiver_asks_for(target: Receiver) -> None:
    assert send(target.url("/busy")).retry_after == 3000
    assert send(target.url("/never")).retry_after == 86_400
    assert send(target.url("/fail")).retry_after == 0


def test_a_name_is_looked_up_once_and_the_checked_address_connected_to(target: Receiver, names: Names) -> None:
    names.answers["hooks.test"] = [["127.0.0.1"], ["127.0.0.9"]]
    assert send(target.url(host="hooks.test")).status_code == 204
    assert names.asked == ["hooks.test"]
    assert target.received[0].headers["host"] == f"hooks.test:{target.port}"


def test_a_name_that_has_come_to_mean_something_private(target: Receiver, names: Names) -> None:
    names.answers["hooks.test"] = [["127.0.0.1"], ["10.0.0.1"]]
    assert send(target.url(host="hooks.test")).status_code == 204
    assert failure(send(target.url(host="hooks.test"))) == "address-refused"
    assert len(target.received) == 1


def test_the_next_address_is_tried_where_the_first_does_not_answer(target: Receiver, names: Names) -> None:
    names.answers["hooks.test"] = [["127.0.0.2", "127.0.0.1"]]
    assert send(target.url(host="hooks.test")).status_code == 204
    names.answers["hooks.test"] = [["127.0.0.2", "127.0.0.3"]]
    assert failure(send(target.url(host="hooks.test"))) == "connection"


def test_proxies_of_the_environment_are_not_used(target: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert send(target.url()).status_code == 204


@pytest.mark.usefixtures("fresh_trust")
def test_tls_is_that_of_the_name(names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names.answers.update({"hooks.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]})
    tls = certificate(tmp_path, "hooks.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with receiver(tls) as target:
        assert send(target.url(host="hooks.test", scheme="https")).status_code == 204
        assert failure(send(target.url(host="other.test", scheme="https"))) == "tls"
        assert len(target.received) == 1


@pytest.mark.usefixtures("fresh_trust")
def test_an_authority_that_nobody_knows(names: Names, tmp_path: Path) -> None:
    names.answers["hooks.test"] = [["127.0.0.1"]]
    with receiver(certificate(tmp_path, "hooks.test")) as target:
        assert failure(send(target.url(host="hooks.test", scheme="https"))) == "tls"
        assert target.received == []
