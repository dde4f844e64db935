"""Look at what a job generated, and distil again without some of it."""

from pathlib import Path
from typing import Annotated

import typer

from gendistil.calls.texts import TextFilter
from gendistil.commands.jobs import follow
from gendistil.commands.options import AsJson, JobId, Url, connected
from gendistil.tables import texts_table
from gendistil.terminal import make_console, note, print_json, warn

app = typer.Typer()
Share = Annotated[float | None, typer.Option(min=0, max=1, help="Of the teacher's largest probability.")]


@app.command()
def texts(
    job: JobId,
    verdict: Annotated[str | None, typer.Option(help="kept, or why the filters dropped them.")] = None,
    label: Annotated[str | None, typer.Option(help="As the teacher reads them.")] = None,
    search: Annotated[str | None, typer.Option(help="Part of the text.")] = None,
    min_confidence: Share = None,
    max_confidence: Share = None,
    order: Annotated[str | None, typer.Option(help="id, confidence (the least sure first) or -confidence.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Save all that match as JSON Lines, whatever the limit.")] = None,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Show the texts that a job generated, with what the teacher reads them as."""
    wanted: TextFilter = {
        "verdict": verdict,
        "label": label,
        "search": search,
        "min_confidence": min_confidence,
        "max_confidence": max_confidence,
        "order": order,
    }
    with connected(url) as client:
        if output is not None:
            path = client.save_synthetic(job, output, **wanted)
            if as_json:
                print_json({"file": str(path)})
            else:
                print(path)
            return
        found = client.synthetic(job, limit=limit, **wanted)
        if as_json:
            print_json(found)
        else:
            make_console().print(texts_table(found))


@app.command("distil-again")
def distil_again(
    job: JobId,
    rejected: Annotated[list[int], typer.Argument(metavar="ID", min=1, help="Of texts to do without: see 'gendistil texts'.")],
    watch: Annotated[bool, typer.Option(help="Stay and show the progress.")] = True,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Do a job again without some of its generated texts. Teacher, generator and texts are reused."""
    with connected(url) as client:
        made = client.distil_again(job, rejected)
        warn(made.warnings)
        if watch:
            follow(client, made.id, as_json, made.warnings)
        elif as_json:
            print_json(made)
        else:
            print(made.id)
            note(f"See it: gendistil watch {made.id}")
