"""The page of a job's generated texts, as the service sends it."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

from tests.app.calls import accepted
from tests.app.jobs.texts import Text, label_texts, text
from tests.app.web.pages import Page, get

SCRIPT = "<script>alert('x')</script> & \"quotes\""
TEXTS = [
    text("my card was stolen", a=0.9, b=0.1),
    text("", "empty", "b"),
    text(SCRIPT, a=0.2, **{'b"><b>': 0.8}),
    text("my card again", "near_duplicate"),
    text("left out before", "rejected", "b"),
    text("another text", asked=None, b=0.6, a=0.4),
]


@pytest.fixture
def job_id(client: TestClient) -> str:
    return str(accepted(client)["id"])


@pytest.fixture
def path(client: TestClient, job_id: str, tmp_path: Path) -> str:
    label_texts(job_id, TEXTS, tmp_path)
    return f"/ui/jobs/{job_id}/texts"


def shown(page: Page) -> list[int]:
    """Ids of the listed texts."""
    return [int(found["id"].removeprefix("text-")) for found in page.all("span", class_="generated")]


def rejectable(page: Page) -> list[int]:
    return [int(found["data-reject"]) for found in page.all("input") if "data-reject" in found]


def test_kept_texts_come_first_and_can_be_rejected(client: TestClient, path: str) -> None:
    page = get(client, path)
    assert shown(page) == rejectable(page) == [1, 3, 6]
    assert "my card was stolen a 90.0 %" in page.text
    assert "1 to 3 of 3 texts" in page.text
    assert "Reject all 3 that match" in page.text


def test_all_texts_say_their_verdict_and_only_kept_ones_can_be_rejected(client: TestClient, path: str) -> None:
    page = get(client, path, verdict="all")
    assert shown(page) == [1, 2, 3, 4, 5, 6]
    assert rejectable(page) == [1, 3, 6]
    assert SCRIPT in page.text  # as it stands, and as no markup: `get` would find the script
    assert "asked for b, empty" in page.text
    assert [found["data-status"] for found in page.all("span", class_="badge plain")] == [found["verdict"] for found in TEXTS]
    assert not page.all("b")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"search": "CARD"}, [1]),
        ({"search": "card", "verdict": ""}, [1, 4]),
        ({"label": "b", "verdict": "all"}, [2, 5, 6]),
        ({"least": "60", "most": "80.0"}, [3, 6]),
        ({"order": "confidence"}, [6, 3, 1]),
        ({"search": "nowhere"}, []),
    ],
)
def test_the_address_says_what_is_listed(wanted: dict[str, str], found: list[int], client: TestClient, path: str) -> None:
    page = get(client, path, **wanted)
    assert shown(page) == found
    assert shown(get(client, f"{path}/results", **wanted)) == found
    assert sorted(client.get(f"{path}/ids", params=wanted).json()) == [number for number in sorted(found) if number in (1, 3, 6)]
    fields = {field["name"]: field["value"] for field in page.all("input") if "name" in field}
    chosen = [option["value"] for option in page.all("option") if "selected" in option]
    for name, value in wanted.items():
        assert fields.get(name, value) == value
        assert name in fields or value in chosen or not value


def test_nothing_can_be_rejected_where_no_kept_text_matches(client: TestClient, path: str) -> None:
    assert client.get(f"{path}/ids", params={"verdict": "near_duplicate"}).json() == []
    page = get(client, path, verdict="near_duplicate")
    assert (shown(page), rejectable(page)) == ([4], [])
    assert "that match" not in page.text


def test_pages_keep_what_was_asked_for(client: TestClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.texts.PAGE", 2)
    page = get(client, path, label="b", verdict="all", order="-confidence")
    assert shown(page) == [6, 2]
    [following] = page.all("a", rel="next")
    assert parse_qs(urlsplit(following["href"]).query) == {"label": ["b"], "verdict": ["all"], "order": ["-confidence"], "page": ["2"]}
    page = get(client, path, **{name: values[0] for name, values in parse_qs(urlsplit(following["href"]).query).items()})
    assert shown(page) == [5]
    assert "3 to 3 of 3 texts" in page.text
    assert "page=" not in page.all("a", rel="prev")[0]["href"]
    assert shown(get(client, path, verdict="all", page=99)) == [5, 6]  # the last one


@pytest.mark.parametrize(
    "wrong", [{"least": "much"}, {"most": "101"}, {"least": "nan"}, {"order": "text"}, {"page": "0"}, {"search": "x" * 201}]
)
def test_what_cannot_be_asked_for_is_a_page_that_says_so(wrong: dict[str, str], client: TestClient, path: str) -> None:
    assert get(client, path, 422, **wrong).all("h1")
    assert get(client, f"{path}/results", 422, **wrong).all("h1")


def test_a_job_without_texts(client: TestClient, job_id: str, tmp_path: Path) -> None:
    path = f"/ui/jobs/{job_id}/texts"
    page = get(client, path)
    assert "No texts yet" in page.text
    assert f"/ui/jobs/{job_id}" in page.links()
    none: Sequence[Text] = []
    label_texts(job_id, none, tmp_path)
    assert "No generated texts" in get(client, path).text
    get(client, "/ui/jobs/job_0/texts", 404)
