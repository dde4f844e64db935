"""`python -m app.access create`: the first key, or the first of a project, made where the database is at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, get_args

import typer
from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.access import projects, service
from app.access.project_schemas import ProjectIn
from app.access.schemas import KeyIn
from app.config import get_settings
from app.contracts.projects import DEFAULT_PROJECT
from app.database import transaction
from app.errors import ServiceError
from app.migrate import upgrade
from app.principals import Scope
from app.tables import utcnow

app = typer.Typer(help="API keys and projects, made without one: for whoever has the database.", no_args_is_help=True)
ACTOR = "command line"


@app.callback()
def main() -> None:
    pass


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(get_args(Scope))}; may be given again.")],
    days: Annotated[int | None, typer.Option(min=1, help="After which it expires.")] = None,
    project: Annotated[str, typer.Option(help="Whose rows it sees.")] = DEFAULT_PROJECT,
) -> None:
    """Prints a new key, this once."""
    until = utcnow() + timedelta(days=days) if days else None
    with _told():
        wanted = KeyIn.model_validate({"name": name, "scopes": scope, "expires_at": until, "project": project})
        with _database() as session:
            made = service.create_key(session, wanted, actor=ACTOR)
    typer.echo(made.key)


@app.command()
def create_project(project: Annotated[str, typer.Argument(metavar="ID", help="Small letters, digits and hyphens.")]) -> None:
    """Makes a project without quotas, and prints its id."""
    with _told():
        wanted = ProjectIn.model_validate({"id": project})
        with _database() as session:
            made = projects.create_project(session, wanted, actor=ACTOR)
    typer.echo(made.id)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        for fault in error.errors():
            typer.echo(f"{fault['loc'][0]}: {fault['msg']}", err=True)
        raise typer.Exit(2) from None
    except ServiceError as error:
        typer.echo(error.problem.detail, err=True)
        if error.problem.status == 404:
            typer.echo("Make it first: python -m app.access create-project ID", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _database() -> Iterator[Session]:
    upgrade(get_settings().resolved_database_url())
    with transaction() as session:
        yield session


if __name__ == "__main__":
    app()
