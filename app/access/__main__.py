"""`python -m app.access create`: the first key, made where the database is at hand."""

from datetime import timedelta
from typing import Annotated, get_args

import typer
from pydantic import ValidationError

from app.access import service
from app.access.schemas import KeyIn
from app.config import get_settings
from app.database import transaction
from app.migrate import upgrade
from app.principals import Scope
from app.tables import utcnow

app = typer.Typer(help="API keys, made without one: for whoever has the database.", no_args_is_help=True)


@app.callback()
def main() -> None:
    pass


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(get_args(Scope))}; may be given again.")],
    days: Annotated[int | None, typer.Option(min=1, help="After which it expires.")] = None,
) -> None:
    """Prints a new key, this once."""
    try:
        wanted = KeyIn.model_validate({"name": name, "scopes": scope, "expires_at": utcnow() + timedelta(days=days) if days else None})
    except ValidationError as error:
        for fault in error.errors():
            typer.echo(f"{fault['loc'][0]}: {fault['msg']}", err=True)
        raise typer.Exit(2) from None
    upgrade(get_settings().resolved_database_url())
    with transaction() as session:
        made = service.create_key(session, wanted, actor="command line")
    typer.echo(made.key)


if __name__ == "__main__":
    app()
