"""API keys: who may do what with a service, and who has."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from gendistil.access_tables import audit_table, keys_table
from gendistil.commands.options import AsJson, InProject, Url, connected
from gendistil.terminal import make_console, note, print_json

_AGO = re.compile(r"(\d{1,5})([mhd])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Scope(StrEnum):
    READ = "read"
    PREDICT = "predict"
    WRITE = "write"
    ADMIN = "admin"
    METRICS = "metrics"
    OPERATOR = "operator"


app = typer.Typer(name="keys", help="Make, list and revoke API keys. It needs one with the scope admin or operator.", no_args_is_help=True)
log = typer.Typer()


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; may be repeated.")],
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="After which it expires; else never.")] = None,
    texts_per_second: Annotated[float | None, typer.Option(min=0.001, help="That it may send for predictions; else any number.")] = None,
    project: InProject = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Make a key, and print it to standard output, this once: gendistil keys create bot --scope predict."""
    until = datetime.now(UTC) + timedelta(days=days) if days else None
    with connected(url) as client:
        made = client.keys.create(
            name, [item.value for item in scope], expires_at=until, texts_per_second=texts_per_second, project=project
        )
        if as_json:
            print_json(made)
        else:
            note(f"{made.id} ({made.name}) may {', '.join(made.scopes)} in the project {made.project}. It is shown this once:")
            typer.echo(made.key)


@app.command("list")
def list_keys(
    project: InProject = None, limit: Annotated[int, typer.Option(min=1)] = 100, as_json: AsJson = False, url: Url = None
) -> None:
    """List the keys, the newest first, those that have expired or were revoked too."""
    with connected(url) as client:
        found = client.keys.list(limit, project=project)
        if as_json:
            print_json(found)
        elif found:
            make_console().print(keys_table(found))
        else:
            note("There are no keys yet. Make one: gendistil keys create NAME --scope predict")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As of 'gendistil keys list'.")], as_json: AsJson = False, url: Url = None
) -> None:
    """Revoke a key for good. Within a second no process takes it any more."""
    with connected(url) as client:
        found = client.keys.revoke(key)
        if as_json:
            print_json(found)
        else:
            note(f"{found.id} ({found.name}) is revoked.")


@log.command()
def audit(
    subject: Annotated[str | None, typer.Option(help="Only of this: the id of a job, the name of a student ...")] = None,
    since: Annotated[str | None, typer.Option(help="A time as 2026-01-31 or 2026-01-31T12:00, or how long ago: 30m, 12h, 7d.")] = None,
    project: InProject = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show who made, changed or deleted what, the newest first. It needs a key with the scope admin or operator."""
    start = _moment(since) if since else None
    with connected(url) as client:
        found = client.audit(limit, subject=subject, since=start, project=project)
        if as_json:
            print_json(found)
        elif found:
            make_console().print(audit_table(found))
        else:
            note("The audit log has nothing of this.")


def _moment(text: str) -> datetime:
    """Of this machine's zone if it names none."""
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise typer.BadParameter("write 2026-01-31, 2026-01-31T12:00, 30m, 12h or 7d", param_hint="--since") from None
