"""Classify texts: of the command line, of standard input line by line, or of a file."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Annotated, Any, TypedDict

import typer

from gendistil import settings
from gendistil.calls.predictions import BulkOptions
from gendistil.client import Client
from gendistil.commands.options import AsJson, StudentRef, TextColumn, Url, connected
from gendistil.display import BulkDisplay
from gendistil.models import Prediction
from gendistil.tables import predictions_table
from gendistil.terminal import make_console, note, print_json

AT_ONCE = 256
"""Lines of standard input that one request holds at most."""

app = typer.Typer()


class _Thresholds(TypedDict):
    min_precision: float | None
    min_score: float | None
    out_of_scope: bool | None


@app.command()
def predict(
    student: StudentRef,
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="Without any, or as -: lines of standard input.")] = None,
    file: Annotated[Path | None, typer.Option(help="CSV or JSONL: classify each of its rows, with all its columns kept.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="For --file: .csv for CSV, else JSONL. Else beside FILE.")] = None,
    text_column: TextColumn = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Labels with scores; else 3, and 1 of a file.")] = None,
    min_precision: Annotated[float | None, typer.Option(help="Abstain below the score from which on such a share is right.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Abstain below this score.")] = None,
    escalate: Annotated[bool, typer.Option("--escalate", help="Ask the teacher where the student abstains.")] = False,
    out_of_scope: Annotated[bool, typer.Option("--out-of-scope", help="Tell how strange each text is, from 0 to 1.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="With --file: leave file and result on the service, too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Classify texts with a student.

    Standard input: one text a line, one answer a line, `label<TAB>score<TAB>text` or with --json an object. The data folder's service is
    started if none answers and no address was given.
    """
    given: _Thresholds = {"min_precision": min_precision, "min_score": min_score, "out_of_scope": out_of_scope or None}
    if file is None:
        for option, value in (("--output", output), ("--text-column", text_column), ("--keep", keep)):
            if value:
                raise typer.BadParameter("only together with --file", param_hint=option)
    elif texts:
        raise typer.BadParameter("not together with texts", param_hint="--file")
    elif escalate:
        raise typer.BadParameter("no teacher reads files: not together with --file", param_hint="--escalate")
    with connected(url, start=settings.data_dir().is_dir()) as client:
        if file is not None:
            _file(client, student, file, output, as_json, keep, {"text_column": text_column, "top_k": top_k, **given})
        elif texts and texts != ["-"]:
            answer = client.predict(student, texts, top_k or 3, escalate=escalate or None, **given)
            if as_json:
                print_json(answer)
            else:
                make_console().print(predictions_table(texts, answer))
        else:
            _lines(client, student, as_json, {"top_k": top_k or 3, "escalate": escalate or None, **given})


def _file(client: Client, student: str, file: Path, output: Path | None, as_json: bool, keep: bool, options: BulkOptions) -> None:
    """A Ctrl-C cancels the work."""
    target = output or file.with_name(f"{file.stem}.predicted{'.csv' if file.suffix.lower() in {'.csv', '.tsv'} else '.jsonl'}")
    with BulkDisplay(make_console(stderr=True)) as display:
        ended = client.predict_file(student, file, target, keep=keep, on_update=display.update, **options)
    if as_json:
        print_json({**ended.model_dump(mode="json"), "file": str(target)})
    else:
        print(target)


def _lines(client: Client, student: str, as_json: bool, options: dict[str, Any]) -> None:
    if sys.stdin.isatty():
        note("One text a line; Ctrl-D ends.")
    for texts in _batches():
        answered = iter(client.predict(student, [text for text in texts if text], **options).predictions) if any(texts) else iter(())
        for text in texts:
            typer.echo(_line(text, next(answered) if text else None, as_json))  # echo flushes: whoever waits for a line gets it


def _batches() -> Iterator[list[str]]:
    """Lines of standard input, without their ends: those that have come together go together, and none waits for the next."""
    lines: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.rstrip("\r\n").strip())
        lines.put(None)

    Thread(target=read, daemon=True).start()
    while (line := lines.get()) is not None:
        batch: list[str | None] = [line]
        with suppress(Empty):
            while len(batch) < AT_ONCE and batch[-1] is not None:
                batch.append(lines.get_nowait())
        yield [text for text in batch if text is not None]
        if batch[-1] is None:
            return


def _line(text: str, prediction: Prediction | None, as_json: bool) -> str:
    """An empty line has no answer, and its place is kept."""
    if as_json:
        return json.dumps({"text": text, **(prediction.model_dump(mode="json") if prediction else {"label": None})}, ensure_ascii=False)
    if prediction is None:
        return ""
    return f"{'' if prediction.abstained else prediction.label}\t{prediction.score:.4f}\t{text}"
