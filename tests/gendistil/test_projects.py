"""Projects by the command line and the clients, against a service that asks for keys."""

import asyncio
import subprocess
import sys

import pytest

from gendistil import AsyncClient, Client, Conflict, Forbidden, NotFound
from gendistil.commands.options import complete_project
from tests.gendistil.test_cli import gendistil
from tests.gendistil.test_keys import KEY, first_key, shown

ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("lost card", "top up") for number in range(6)]


def by_hand(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Where the database is, without a key."""
    return subprocess.run([sys.executable, "-m", "app.access", *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def operator(keyed_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GENDISTIL_URL", keyed_url)
    return first_key("operator")


def test_a_project_is_made_given_a_key_limited_and_shown(keyed_url: str, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENDISTIL_API_KEY", operator)
    assert "--project support" in gendistil("projects", "create", "support", "--jobs-open", "20", "--bytes", "5e9").stderr
    made = gendistil("keys", "create", "bot", "--scope", "write", "--project", "support")
    assert "may write in the project support" in made.stderr
    theirs = made.stdout.strip()
    changed = shown("projects", "set", "support", "--jobs-open", "none", "--texts-per-second", "0.5", key=operator)
    kept = {name: changed[name] for name in ("jobs_open", "bytes", "texts_per_second", "rows")}
    assert kept == {"jobs_open": None, "bytes": 5_000_000_000, "texts_per_second": 0.5, "rows": None}
    assert "name a quota" in gendistil("projects", "set", "support").stderr
    with Client(keyed_url, api_key=theirs) as client:
        client.create_dataset(rows=ROWS)
        with pytest.raises(Forbidden, match="lacks the scope `operator`"):
            client.projects.list()
    table = gendistil("projects", "show", "support", GENDISTIL_API_KEY=theirs).stdout
    assert "5,000,000,000" in table
    assert "any number" in table
    listed = gendistil("projects", "list").stdout
    assert listed.index("default") < listed.index("support")
    assert complete_project("su") == ["support"]

    refused = gendistil("projects", "delete", "support")
    assert refused.returncode == 1
    assert "still has 1 dataset, 1 good key." in refused.stderr
    assert [key["name"] for key in shown("keys", "list", "--project", "support", key=operator)] == ["bot"]
    assert [key["name"] for key in shown("keys", "list", key=operator)] == ["ops"]
    log = shown("audit", "--project", "support", key=operator)
    assert [entry["action"] for entry in log] == ["dataset.created", "project.changed", "key.created", "project.created"]
    assert shown("audit", key=operator)[0]["action"] == "key.created"


def test_both_clients_keep_projects(keyed_url: str, operator: str) -> None:
    with Client(keyed_url, api_key=operator) as client:
        made = client.projects.create("support", rows=1000)
        assert (made.rows, made.jobs_open) == (1000, None)
        with pytest.raises(Conflict):
            client.projects.create("support")
        used = client.projects.get("support").usage
        assert (used.rows, used.minutes_this_month) == (0, 0.0)
        assert client.projects.change("support", rows=None).rows is None
        key = client.keys.create("bot", ["read"], project="support")
        assert (key.project, client.keys.list(project="support")[0].id) == ("support", key.id)
        assert client.audit(1, project="support")[0].project == "support"
        client.keys.revoke(key.id)
        client.projects.delete("support")
        with pytest.raises(NotFound):
            client.projects.get("support")

    async def ask() -> list[str]:
        async with AsyncClient(keyed_url, api_key=operator) as client:
            return [project.id for project in await client.projects.list()]

    assert asyncio.run(ask()) == ["default"]


def test_a_project_and_its_key_are_made_where_the_database_is(keyed_url: str, operator: str) -> None:
    create = ("create", "--name", "bot", "--scope", "admin", "--project", "support")
    unknown = by_hand(*create)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "There is no project 'support'." in unknown.stderr
    assert "create-project" in unknown.stderr
    assert by_hand("create-project", "support").stdout == "support\n"
    again = by_hand("create-project", "support")
    assert (again.returncode, again.stdout) == (1, "")
    assert "There is a project 'support'" in again.stderr
    assert by_hand("create-project", "Support").returncode == 2
    key = by_hand(*create).stdout.strip()
    assert KEY.fullmatch(key)
    with Client(keyed_url, api_key=key) as client:
        assert [entry.action for entry in client.audit()] == ["key.created", "project.created"]
        assert {entry.actor for entry in client.audit()} == {"command line"}


@pytest.mark.parametrize("value", ["many", "-1", "nan", "inf", "1e18", ""])
def test_a_quota_that_is_no_number_is_told(value: str) -> None:
    refused = gendistil("projects", "set", "support", f"--rows={value}")
    assert refused.returncode == 2
    assert "write a number" in refused.stderr
