"""What the commands print: answers to stdout, everything else to stderr."""

import json
import os
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from gendistil.errors import GendistilError
from gendistil.models import Answer

PIPE_WIDTH = 120
ERRORS_SHOWN = 20


def make_console(stderr: bool = False) -> Console:
    """A terminal's own width; in a pipe, one that tables fit into."""
    console = Console(stderr=stderr)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(stderr=stderr, width=PIPE_WIDTH)


def note(line: str, style: str = "") -> None:
    """A line beside the answer."""
    make_console(stderr=True).print(Text(line, style=style), soft_wrap=True)


def warn(lines: Sequence[str]) -> None:
    for line in lines:
        note(f"Warning: {line}", "yellow")


def print_json(answer: Answer | Sequence[object] | dict[str, object]) -> None:
    def plain(value: object) -> object:
        return value.model_dump(mode="json") if isinstance(value, Answer) else value

    found = [plain(item) for item in answer] if isinstance(answer, Sequence) else plain(answer)
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


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
