"""What is published: list it, move aliases, take it away and bring it back."""

from pathlib import Path
from typing import Annotated

import typer

from gendistil.client import Client
from gendistil.commands.options import AsJson, Reason, StudentName, StudentRef, Url, complete_student, connected
from gendistil.errors import GendistilError
from gendistil.models import Alias
from gendistil.tables import drift_table, students_table, versions_table
from gendistil.terminal import make_console, note, print_json

app = typer.Typer()


@app.command()
def students(
    name: Annotated[str | None, typer.Argument(help="Show its versions.", autocompletion=complete_student)] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the published students, or the versions of one."""
    with connected(url) as client:
        if name is not None:
            student = client.student(name)
            if as_json:
                print_json(student)
            else:
                make_console().print(versions_table(student))
            return
        found = client.students(limit)
        if as_json:
            print_json(found)
        elif found:
            make_console().print(students_table(found))
        else:
            note("There are no students yet. Make one: gendistil distil rows.csv")


@app.command()
def alias(
    name: StudentName,
    alias: Annotated[str, typer.Argument(help="As production, or latest.")],
    version: Annotated[int, typer.Argument(min=1)],
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Point an alias of a student at a version: gendistil alias triage production 3."""
    with connected(url) as client:
        _tell(client.point_alias(name, alias, version, reason), as_json)


@app.command()
def rollback(
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="name@alias, or name for its latest.", autocompletion=complete_student)],
    reason: Reason = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Point an alias at the version that it meant before; again, at the one before that."""
    name, _, alias = student.partition("@")
    with connected(url) as client:
        _tell(client.roll_back(name, alias or "latest", reason), as_json)


def _tell(moved: Alias, as_json: bool) -> None:
    if as_json:
        print_json(moved)
    else:
        print(f"{moved.name}@{moved.alias} is version {moved.version}")


@app.command()
def download(
    student: StudentRef,
    output: Annotated[Path, typer.Option("--output", "-o", "--to", help="Folder, or file to write.")] = Path(),
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Save a student as a zip that runs without this service: see the README.md in it."""
    with connected(url) as client:
        path = client.download(student, output)
        if as_json:
            print_json({"file": str(path)})
        else:
            print(path)


@app.command("import")
def import_student(
    file: Annotated[Path, typer.Argument(help="What 'gendistil download' saved.")],
    name: Annotated[str | None, typer.Option(help="Of the student here; else the one it had.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Move `latest` to it.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Publish a student that was saved as a zip."""
    with connected(url) as client:
        published = client.import_student(file, name=name, promote=promote)
        if as_json:
            print_json(published)
        else:
            print(f"{published.name}:{published.version}")


@app.command()
def drift(
    student: StudentRef,
    days: Annotated[int, typer.Option(min=1, help="To look back, today among them.")] = 7,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Tell whether live texts are still such as a version was measured on."""
    with connected(url) as client:
        name, version = resolved(client, student)
        found = client.drift(name, version, days)
        if as_json:
            print_json(found)
        else:
            make_console().print(drift_table(found))


def resolved(client: Client, reference: str) -> tuple[str, int]:
    """The name and version that `name`, `name@alias` or `name:version` means. Raises `GendistilError`."""
    name, colon, version = reference.partition(":")
    if colon:
        return name, number_of(version, reference)
    name, _, alias = reference.partition("@")
    aliases = client.student(name).aliases
    if (alias or "latest") not in aliases:
        raise GendistilError(f"{name} has no alias {alias!r}.", remedy=f"It has {', '.join(sorted(aliases))}.")
    return name, aliases[alias or "latest"]


def number_of(version: str, reference: str) -> int:
    """Raises `GendistilError`."""
    if not (version.isascii() and version.isdigit()):
        raise GendistilError(f"{reference!r} names no version of a student.", remedy="Write name:version, as triage:3.")
    return int(version)
