"""Projects: whose rows are kept apart, and how much each may use."""

import math
from typing import Annotated, cast

import typer

from gendistil.access_tables import project_table, projects_table
from gendistil.calls.projects import Quotas
from gendistil.commands.options import AsJson, ProjectId, Url, connected
from gendistil.terminal import make_console, note, print_json

ANY = "none"
LIFTED = -1

app = typer.Typer(name="projects", help="Make, list, limit and delete projects, as an operator.", no_args_is_help=True)


def _number(text: str) -> float:
    if text.lower() == ANY:
        return LIFTED
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e18:
        raise typer.BadParameter(f"write a number, such as 20 or 5e9, or {ANY} for any number")
    return value


def _whole(text: str) -> int:
    return int(_number(text))


_NUMBER = f"NUMBER|{ANY}"
JobsRunning = Annotated[int | None, typer.Option(parser=_whole, metavar=_NUMBER, help="Jobs that workers are busy with at a time.")]
JobsOpen = Annotated[int | None, typer.Option(parser=_whole, metavar=_NUMBER, help="Jobs that wait or run.")]
Rows = Annotated[int | None, typer.Option(parser=_whole, metavar=_NUMBER, help="Of all its datasets.")]
Bytes = Annotated[int | None, typer.Option(parser=_whole, metavar=_NUMBER, help="That it keeps in the store.")]
Minutes = Annotated[float | None, typer.Option(parser=_number, metavar=_NUMBER, help="Of workers' time on its stages in a month.")]
Texts = Annotated[float | None, typer.Option(parser=_number, metavar=_NUMBER, help="That all its keys together may send for predictions.")]


@app.command()
def create(
    id: Annotated[str, typer.Argument(metavar="ID", help="Small letters, digits and hyphens. It stays.")],
    jobs_running: JobsRunning = None,
    jobs_open: JobsOpen = None,
    rows: Rows = None,
    bytes: Bytes = None,
    minutes_per_month: Minutes = None,
    texts_per_second: Texts = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Make a project, with its quotas: gendistil projects create support --jobs-open 20."""
    quotas = _quotas(
        jobs_running=jobs_running,
        jobs_open=jobs_open,
        rows=rows,
        bytes=bytes,
        minutes_per_month=minutes_per_month,
        texts_per_second=texts_per_second,
    )
    with connected(url) as client:
        made = client.projects.create(id, **quotas)
        if as_json:
            print_json(made)
        else:
            note(f"Made the project {made.id}. Make keys of it: gendistil keys create NAME --project {made.id} --scope admin")


@app.command("list")
def list_projects(limit: Annotated[int, typer.Option(min=1)] = 100, as_json: AsJson = False, url: Url = None) -> None:
    """List the projects with their quotas."""
    with connected(url) as client:
        found = client.projects.list(limit)
        if as_json:
            print_json(found)
        else:
            make_console().print(projects_table(found))


@app.command()
def show(project: ProjectId, as_json: AsJson = False, url: Url = None) -> None:
    """Show a project's quotas, and what it uses. Any key with the scope read may ask for its own."""
    with connected(url) as client:
        found = client.projects.get(project)
        if as_json:
            print_json(found)
        else:
            make_console().print(project_table(found))


@app.command("set")
def set_quotas(
    project: ProjectId,
    jobs_running: JobsRunning = None,
    jobs_open: JobsOpen = None,
    rows: Rows = None,
    bytes: Bytes = None,
    minutes_per_month: Minutes = None,
    texts_per_second: Texts = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Change the quotas that are named, or lift them: gendistil projects set support --jobs-open 50 --rows none."""
    quotas = _quotas(
        jobs_running=jobs_running,
        jobs_open=jobs_open,
        rows=rows,
        bytes=bytes,
        minutes_per_month=minutes_per_month,
        texts_per_second=texts_per_second,
    )
    if not quotas:
        raise typer.BadParameter("name a quota, such as --jobs-open 50")
    with connected(url) as client:
        found = client.projects.change(project, **quotas)
        if as_json:
            print_json(found)
        else:
            make_console().print(projects_table([found]))


@app.command()
def delete(project: ProjectId, as_json: AsJson = False, url: Url = None) -> None:
    """Delete a project that is empty, and whose keys are revoked. Its log stays."""
    with connected(url) as client:
        client.projects.delete(project)
        if as_json:
            print_json({"deleted": project})
        else:
            note(f"Deleted {project}.")


def _quotas(**named: float | None) -> Quotas:
    """Those that were named."""
    return cast(Quotas, {name: None if value == LIFTED else value for name, value in named.items() if value is not None})
