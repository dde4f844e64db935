"""The `gendistil` command."""

from importlib.metadata import version
from typing import Annotated

import typer

from gendistil.commands import delete, doctor, jobs, keys, login, predict, projects, service, students, texts

HELP = "Turn a small labelled text file into a compact classifier, and use it. Start here: gendistil distil rows.csv"

app = typer.Typer(name="gendistil", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
for part in (jobs, texts, predict, students, service, doctor, delete, keys, projects, login):
    app.add_typer(part.app)
app.add_typer(keys.log)


def _version(asked: bool) -> None:
    if asked:
        print(version("gendistil"))
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version, and exit.")] = False,
) -> None:
    pass


if __name__ == "__main__":
    app()
