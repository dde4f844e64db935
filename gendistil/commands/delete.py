"""`gendistil delete`: what is not wanted any more."""

from typing import Annotated

import typer

from gendistil.commands.options import AsJson, JobId, Url, complete_student, connected
from gendistil.commands.students import number_of
from gendistil.terminal import note, print_json

app = typer.Typer(name="delete", help="Delete a job, a student or a dataset for good.", no_args_is_help=True)


@app.command("job")
def delete_job(job: JobId, as_json: AsJson = False, url: Url = None) -> None:
    """Delete an ended job and what it alone made. Its student must be deleted first."""
    with connected(url) as client:
        client.delete_job(job)
        _tell(job, as_json)


@app.command("student")
def delete_student(
    student: Annotated[str, typer.Argument(help="name:version, or name for all versions.", autocompletion=complete_student)],
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Delete a version of a student, or the student with all its versions and aliases."""
    name, colon, version = student.partition(":")
    with connected(url) as client:
        client.delete_student(name, number_of(version, student) if colon else None)
        _tell(student, as_json)


@app.command("alias")
def delete_alias(
    alias: Annotated[str, typer.Argument(help="name@alias", autocompletion=complete_student)], as_json: AsJson = False, url: Url = None
) -> None:
    """Delete an alias of a student; the version stays."""
    name, at, of = alias.partition("@")
    if not (at and of):
        raise typer.BadParameter("write name@alias", param_hint="ALIAS")
    with connected(url) as client:
        client.delete_alias(name, of)
        _tell(alias, as_json)


@app.command("dataset")
def delete_dataset(dataset: str, as_json: AsJson = False, url: Url = None) -> None:
    """Delete a dataset. The jobs that were made from it must be deleted first."""
    with connected(url) as client:
        client.delete_dataset(dataset)
        _tell(dataset, as_json)


def _tell(what: str, as_json: bool) -> None:
    if as_json:
        print_json({"deleted": what})
    else:
        note(f"Deleted {what}.")
