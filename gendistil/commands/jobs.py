"""Start jobs, follow them, stop them, see what came of them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gendistil import settings
from gendistil.client import Client
from gendistil.commands.options import (
    AsJson,
    JobId,
    Kind,
    LabelColumn,
    Preset,
    Rows,
    Spec,
    TestFile,
    TextColumn,
    Url,
    connected,
)
from gendistil.display import JobDisplay
from gendistil.models import Job
from gendistil.tables import estimate_table, jobs_table, report_table
from gendistil.terminal import make_console, note, print_json, warn

app = typer.Typer()


@app.command()
def distil(
    file: Rows,
    name: Annotated[str | None, typer.Option(help="Of the student; else after FILE.")] = None,
    preset: Preset = None,
    test_file: TestFile = None,
    student: Kind = None,
    spec: Spec = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    promote: Annotated[str | None, typer.Option(help="if_not_worse, always or never: whether it becomes latest.")] = None,
    replace_dataset: Annotated[
        bool, typer.Option("--replace-dataset", help="Allow for a name whose students come from other rows.")
    ] = False,
    watch: Annotated[bool, typer.Option(help="Stay and show the progress.")] = True,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Distil a labelled file into a student. Starts a service on this machine if none answers and no address was given."""
    overrides = overridden(spec, student)
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    with connected(url, start=True) as client:
        job = client.create_job(
            name or name_after(file),
            file=file,
            test_file=test_file,
            text_column=text_column,
            label_column=label_column,
            preset=settings.resolve("preset", preset).value,
            spec=overrides,
            promote=promote,
            replace_dataset=replace_dataset,
        )
        warn(job.warnings)
        if watch:
            follow(client, job.id, as_json, job.warnings)
            if not as_json:
                note(f"Try it: gendistil predict {job.name} 'a text'")
        elif as_json:
            print_json(job)
        else:
            print(job.id)


@app.command()
def estimate(
    file: Rows,
    name: Annotated[str | None, typer.Option(help="Of the student, to learn whether it is free.")] = None,
    preset: Preset = None,
    test_file: TestFile = None,
    student: Kind = None,
    spec: Spec = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Tell what distilling a file would take, and whether it fits. Starts no job."""
    overrides = overridden(spec, student)
    with connected(url) as client:
        answer = client.estimate(
            name or "estimate",
            file=file,
            test_file=test_file,
            text_column=text_column,
            label_column=label_column,
            preset=settings.resolve("preset", preset).value,
            spec=overrides,
            replace_dataset=name is None,
        )
        if as_json:
            print_json(answer)
        else:
            make_console().print(estimate_table(answer))


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(min=1)] = 20,
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the student.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """List the newest jobs."""
    with connected(url) as client:
        found = client.jobs(limit, status=status, name=name)
        if as_json:
            print_json(found)
        elif found:
            make_console().print(jobs_table(found))
        else:
            note("There are no such jobs." if status or name else "There are no jobs yet. Start one: gendistil distil rows.csv")


@app.command()
def watch(job: JobId, as_json: AsJson = False, url: Url = None) -> None:
    """Show a job's progress until it ends, then its report."""
    with connected(url) as client:
        follow(client, job, as_json)


@app.command()
def cancel(job: JobId, as_json: AsJson = False, url: Url = None) -> None:
    """Stop a job. What it has finished is kept."""
    with connected(url) as client:
        found = client.cancel(job)
        if as_json:
            print_json(found)
        else:
            note(f"Job {job} is {found.status}. Go on with it: gendistil resume {job}")


@app.command()
def resume(
    job: JobId,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show the progress.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Go on with a failed or cancelled job after its last finished stage."""
    with connected(url) as client:
        found = client.resume(job)
        if watch:
            follow(client, job, as_json)
        elif as_json:
            print_json(found)
        else:
            note(f"Job {job} is {found.status}. See it: gendistil watch {job}")


@app.command()
def report(
    job: JobId,
    html: Annotated[Path | None, typer.Option(help="Save it as one HTML file that needs no other: a file or a folder.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show a finished job's report: teacher, student and baselines side by side."""
    if html is not None and as_json:
        raise typer.BadParameter("not together with --html", param_hint="--json")
    with connected(url) as client:
        if html is not None:
            print(client.report_html(job, html))
        elif as_json:
            print_json(client.report(job))
        else:
            make_console().print(report_table(client.report(job)))


def follow(client: Client, job_id: str, as_json: bool = False, told: Sequence[str] = ()) -> None:
    """Shows the job until its end, then its report, and its warnings but for those that were `told` before."""
    try:
        with JobDisplay(make_console(stderr=True)) as display:
            job: Job = client.wait(job_id, on_update=display.update)
    except KeyboardInterrupt:
        note(f"The job runs on; see it again with: gendistil watch {job_id}")
        raise
    report = client.report(job_id)
    if as_json:
        print_json(job)
    else:
        make_console().print(report_table(report))
    warn([warning for warning in job.warnings if warning not in told and warning not in report.warnings])


def name_after(file: Path) -> str:
    """A name for a student that the service takes: that of the file without what is not allowed."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", file.stem.lower()).strip("-_.")
    return plain[:63] or "student"


def overridden(spec: str | None, student: str | None) -> dict[str, Any] | None:
    """The overrides that the options make. Raises `typer.BadParameter`."""
    found: Any = {}
    if spec is not None:
        try:
            found = json.loads(spec if spec.lstrip().startswith("{") else Path(spec).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"neither JSON nor a file with it: {error}", param_hint="--spec") from None
        if not isinstance(found, dict):
            raise typer.BadParameter('no object such as {"distil": {"epochs": 5}}', param_hint="--spec")
    if student is not None:
        part = found.get("distil", {})
        found["distil"] = {**(part if isinstance(part, dict) else {}), "student": student}
    return found or None
