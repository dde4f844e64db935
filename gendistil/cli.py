"""The `gendistil` command."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gendistil.bulk import BulkOptions
from gendistil.client import DEFAULT_URL, Client
from gendistil.display import BulkDisplay, JobDisplay, duration, estimate_table, garbage_table, predictions_table, report_table
from gendistil.errors import GendistilError

app = typer.Typer(name="gendistil", help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Url = Annotated[str, typer.Option("--url", envvar="GENDISTIL_URL", help="Address of the service.")]
PIPE_WIDTH = 120
ERRORS_SHOWN = 20


def make_console(stderr: bool = False) -> Console:
    """A terminal's own width; in a pipe, one that tables fit into."""
    console = Console(stderr=stderr)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=stderr, width=PIPE_WIDTH)


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data_dir: Annotated[Path, typer.Option(envvar="GENDISTIL_DATA_DIR", help="Database, models and logs.")] = Path(".gendistil"),
    teacher: Annotated[list[str] | None, typer.Option(help="A student whose teacher answers where it abstains; may be repeated.")] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the whole service on this machine: Redis, workers and the API. Ctrl-C stops it."""
    from app.embedded import EmbeddedError, run

    try:
        run(host, port, data_dir, teachers=teacher or [], parent=parent)
    except EmbeddedError as error:
        if error.log_tail:
            print(f"--- the log's last lines ---\n{error.log_tail}\n---", file=sys.stderr)
        fail(GendistilError(error.detail, remedy=error.remedy))


@app.command()
def distil(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or JSON with the columns text and label.")],
    name: Annotated[str, typer.Option(help="Name of the student.")],
    preset: Annotated[str | None, typer.Option(help="fast, balanced, thorough or paper.")] = None,
    test_file: Annotated[Path | None, typer.Option(help="Rows of your own to score on, instead of a part of FILE.")] = None,
    student: Annotated[str | None, typer.Option(help="cnn, bilstm or bag.")] = None,
    watch: Annotated[bool, typer.Option(help="Stay and show the progress.")] = True,
    url: Url = DEFAULT_URL,
) -> None:
    """Distil a labelled file into a student."""
    with connected(url) as client:
        spec = {"distil": {"student": student}} if student else None
        job = client.create_job(name, file=file, test_file=test_file, preset=preset, spec=spec)
        for warning in job.warnings:
            make_console(stderr=True).print(Text(f"Warning: {warning}", style="yellow"))
        if watch:
            follow(client, job.id, job.warnings)
        else:
            print(job.id)


@app.command()
def watch(job: str, url: Url = DEFAULT_URL) -> None:
    """Show a job's progress until it ends, then its report."""
    with connected(url) as client:
        follow(client, job)


@app.command()
def report(job: str, url: Url = DEFAULT_URL) -> None:
    """Show a finished job's report: teacher, student and baselines side by side."""
    with connected(url) as client:
        make_console().print(report_table(client.report(job)))


@app.command()
def predict(
    student: Annotated[str, typer.Argument(help="name, name@alias or name:version")],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...")],
    top_k: Annotated[int, typer.Option(min=1)] = 3,
    url: Url = DEFAULT_URL,
) -> None:
    """Classify texts with a student."""
    with connected(url) as client:
        make_console().print(predictions_table(texts, client.predict(student, texts, top_k)))


@app.command("predict-file")
def predict_file(
    student: Annotated[str, typer.Argument(help="name, name@alias or name:version")],
    file: Annotated[Path, typer.Argument(help="CSV or JSONL.")],
    to: Annotated[Path | None, typer.Option(help="File to write: .csv for CSV, else JSONL. Else beside FILE, in its format.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column with the texts; else text.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Above 1, a column with so many labels and scores.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Abstain below this score.")] = None,
    min_precision: Annotated[float | None, typer.Option(help="Abstain below the score from which on so many answers are right.")] = None,
    out_of_scope: Annotated[bool | None, typer.Option("--out-of-scope", help="A column that tells how strange a text is.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave file and result on the service, too.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Classify each row of a file; all columns are kept, in the same order. Ctrl-C cancels it."""
    target = to or file.with_name(f"{file.stem}.predicted{'.csv' if file.suffix.lower() in {'.csv', '.tsv'} else '.jsonl'}")
    options: BulkOptions = {
        "text_column": text_column,
        "top_k": top_k,
        "min_score": min_score,
        "min_precision": min_precision,
        "out_of_scope": out_of_scope,
    }
    with connected(url) as client, BulkDisplay(make_console(stderr=True)) as display:
        client.predict_file(student, file, target, keep=keep, on_update=display.update, **options)
    print(target)


@app.command()
def alias(
    name: str,
    alias: str,
    version: Annotated[int, typer.Argument(min=1)],
    reason: Annotated[str | None, typer.Option(help="For the alias's history.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Point an alias of a student at a version: gendistil alias triage production 3."""
    with connected(url) as client:
        moved = client.point_alias(name, alias, version, reason)
        print(f"{moved.name}@{moved.alias} is version {moved.version}")


@app.command()
def rollback(
    student: Annotated[str, typer.Argument(help="name@alias, or name for its latest.")],
    reason: Annotated[str | None, typer.Option(help="For the alias's history.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Point an alias at the version that it meant before; again, at the one before that."""
    name, _, alias = student.partition("@")
    with connected(url) as client:
        moved = client.roll_back(name, alias or "latest", reason)
        print(f"{moved.name}@{moved.alias} is version {moved.version}")


@app.command()
def download(
    student: Annotated[str, typer.Argument(help="name, name@alias or name:version")],
    to: Annotated[Path, typer.Option(help="Folder, or file to write.")] = Path(),
    url: Url = DEFAULT_URL,
) -> None:
    """Save a student as a zip that runs without this service: see the README.md in it."""
    with connected(url) as client:
        print(client.download(student, to))


@app.command("import")
def import_student(
    file: Annotated[Path, typer.Argument(help="What `gendistil download` saved.")],
    name: Annotated[str | None, typer.Option(help="Of the student here; else the one it had.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Move `latest` to it.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Publish a student that was saved as a zip."""
    with connected(url) as client:
        published = client.import_student(file, name=name, promote=promote)
        print(f"{published.name}:{published.version}")


@app.command()
def jobs(limit: Annotated[int, typer.Option(min=1)] = 20, url: Url = DEFAULT_URL) -> None:
    """List the newest jobs."""
    with connected(url) as client:
        table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        for heading in ("id", "name", "status", "left", "student"):
            table.add_column(heading)
        for job in client.jobs(limit):
            left = duration(job.eta_seconds) if job.eta_seconds is not None and not job.ended else ""
            published = f"{job.student.name}:{job.student.version}" if job.student else ""
            table.add_row(*(Text(cell) for cell in (job.id, job.name, job.status, left, published)))
        make_console().print(table)


@app.command()
def estimate(
    file: Annotated[Path, typer.Argument(help="CSV, JSONL or JSON with the columns text and label.")],
    name: Annotated[str | None, typer.Option(help="Name of the student, to learn whether it is free.")] = None,
    preset: Annotated[str | None, typer.Option(help="fast, balanced, thorough or paper.")] = None,
    test_file: Annotated[Path | None, typer.Option(help="Rows of your own to score on, instead of a part of FILE.")] = None,
    student: Annotated[str | None, typer.Option(help="cnn, bilstm or bag.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the service's answer.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Tell what distilling a file would take, and whether it fits. Starts nothing."""
    with connected(url) as client:
        spec = {"distil": {"student": student}} if student else None
        answer = client.estimate(name or "estimate", file=file, test_file=test_file, preset=preset, spec=spec, replace_dataset=name is None)
        if as_json:
            print(answer.model_dump_json(indent=1))
        else:
            make_console().print(estimate_table(answer))


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the service's answer.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Remove what no dataset, job or student uses: left by crashes, or by jobs that were deleted."""
    with connected(url) as client:
        answer = client.collect_garbage(dry_run=dry_run)
        if as_json:
            print(answer.model_dump_json(indent=1))
        else:
            make_console().print(garbage_table(answer))
        if answer.failed:
            raise typer.Exit(1)


delete = typer.Typer(name="delete", help="Delete a job, a student or a dataset for good.", no_args_is_help=True)
app.add_typer(delete)


@delete.command("job")
def delete_job(job: str, url: Url = DEFAULT_URL) -> None:
    """Delete an ended job and what it alone made. Its student must be deleted first."""
    with connected(url) as client:
        client.delete_job(job)


@delete.command("student")
def delete_student(student: Annotated[str, typer.Argument(help="name:version, or name for all versions.")], url: Url = DEFAULT_URL) -> None:
    """Delete a version of a student, or the student with all its versions and aliases."""
    name, colon, version = student.partition(":")
    if colon and not (version.isascii() and version.isdigit()):
        fail(GendistilError(f"{student!r} names no version of a student.", remedy="Write name:version, or name for all versions."))
    with connected(url) as client:
        client.delete_student(name, int(version) if colon else None)


@delete.command("dataset")
def delete_dataset(dataset: str, url: Url = DEFAULT_URL) -> None:
    """Delete a dataset. The jobs that were made from it must be deleted first."""
    with connected(url) as client:
        client.delete_dataset(dataset)


@contextmanager
def connected(url: str) -> Iterator[Client]:
    """A client whose errors are printed with their remedy and end the command with code 1."""
    try:
        with Client(url) as client:
            yield client
    except GendistilError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def follow(client: Client, job_id: str, told: Sequence[str] = ()) -> None:
    """Shows the job until its end, then its report, and its warnings but for those that were `told` before."""
    console = make_console()
    try:
        with JobDisplay(console) as display:
            job = client.wait(job_id, on_update=display.update)
    except KeyboardInterrupt:
        console.print(f"The job runs on; see it again with: gendistil watch {job_id}", markup=False, highlight=False)
        raise
    report = client.report(job_id)
    console.print(report_table(report))
    for warning in job.warnings:
        if warning not in told and warning not in report.warnings:
            make_console(stderr=True).print(Text(f"Warning: {warning}", style="yellow"))


def fail(error: GendistilError) -> None:
    """Prints an error with its rows and remedy, and ends the command with code 1."""
    console = make_console(stderr=True)
    console.print(Text.assemble(("Error: ", "bold red"), error.detail), soft_wrap=True)
    for item in error.errors[:ERRORS_SHOWN]:
        place = ", ".join(f"{key} {item[key]}" for key in ("row", "column") if item.get(key) is not None)
        console.print(Text(f"  {place + ': ' if place else ''}{item.get('detail', '')}"), soft_wrap=True)
    if error.errors_total > min(len(error.errors), ERRORS_SHOWN):
        console.print(Text(f"  {error.errors_total} faults in all"))
    if error.remedy:
        console.print(Text.assemble(("What to do: ", "bold"), error.remedy), soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
