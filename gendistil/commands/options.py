"""Options that several commands share, and the client that they lead to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from gendistil import background, settings
from gendistil.client import DEFAULT_URL, Client
from gendistil.errors import GendistilError, Unauthenticated
from gendistil.terminal import fail, note

INTERRUPTED = 130
COMPLETION_SECONDS = 1.0
LOG_IN = (
    "Run 'gendistil login', or set GENDISTIL_API_KEY. A key in a settings file is sent to that file's own url alone, or to this machine. "
    "Whoever runs the service makes keys: gendistil keys create."
)


def complete_student(incomplete: str) -> list[str]:
    """Names of students, for a shell; none if no service answers at once."""
    try:
        with Client(address(None), timeout=COMPLETION_SECONDS) as client:
            return [student.name for student in client.students() if student.name.startswith(incomplete)]
    except GendistilError:
        return []


def complete_job(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest jobs, with what they are, for a shell."""
    try:
        with Client(address(None), timeout=COMPLETION_SECONDS) as client:
            return [(job.id, f"{job.name}, {job.status}") for job in client.jobs() if job.id.startswith(incomplete)]
    except GendistilError:
        return []


def complete_project(incomplete: str) -> list[str]:
    """Ids of projects, for a shell of an operator."""
    try:
        with Client(address(None), timeout=COMPLETION_SECONDS) as client:
            return [project.id for project in client.projects.list() if project.id.startswith(incomplete)]
    except GendistilError:
        return []


Url = Annotated[
    str | None,
    typer.Option("--url", envvar="GENDISTIL_URL", help=f"Address of the service; else that of the data folder's, or {DEFAULT_URL}."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else, to standard output.")]
DataDir = Annotated[
    Path | None, typer.Option(envvar="GENDISTIL_DATA_DIR", help="Database, models and logs; else .gendistil.", show_default=False)
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", autocompletion=complete_job)]
ProjectId = Annotated[str, typer.Argument(metavar="ID", help="Of the project.", autocompletion=complete_project)]
InProject = Annotated[
    str | None,
    typer.Option("--project", help="Another than your key's own: for operators.", autocompletion=complete_project),
]
StudentRef = Annotated[str, typer.Argument(metavar="STUDENT", help="name, name@alias or name:version", autocompletion=complete_student)]
StudentName = Annotated[str, typer.Argument(metavar="NAME", help="Of the student.", autocompletion=complete_student)]
Reason = Annotated[str | None, typer.Option(help="For the alias's history.")]
Rows = Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSONL or JSON with the columns text and label.")]
TestFile = Annotated[Path | None, typer.Option(help="Rows of your own to score on, instead of a part of FILE.")]
Preset = Annotated[str | None, typer.Option(envvar="GENDISTIL_PRESET", help="As of 'gendistil presets'; else the service's own.")]
Kind = Annotated[str | None, typer.Option("--student", help="cnn, bilstm or bag.")]
Spec = Annotated[str | None, typer.Option(help="Overrides of the preset: JSON, or a file with it.")]
TextColumn = Annotated[str | None, typer.Option(help="Column with the texts; else text.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column with the labels; else label.")]


def address(url: str | None) -> str:
    """The service that is meant: the one that was named, else the data folder's if it runs, else the default. Raises `GendistilError`."""
    named = settings.resolve("url", url)
    if named.chosen:
        return named.value or DEFAULT_URL
    found = background.announced(settings.data_dir())
    return found.url if found else DEFAULT_URL


@contextmanager
def errors_told() -> Iterator[None]:
    """An error is printed with its remedy and ends the command with code 1; a Ctrl-C ends it with 130."""
    try:
        yield
    except Unauthenticated as error:
        error.remedy = LOG_IN
        fail(error)
    except GendistilError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def connected(url: str | None, *, start: bool = False) -> Iterator[Client]:
    """A client whose errors are told as by `errors_told`.

    `start`: where no address was named and no service answers, the data folder's is started and left running.
    """
    with errors_told():
        where = address(url)
        folder = settings.data_dir()
        if start and where == DEFAULT_URL and not settings.resolve("url", url).chosen and not background.answers(where):
            where = background.start(folder, note).url
        with Client(where) as client:
            yield client
