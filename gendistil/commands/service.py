"""The service itself: start and stop it, what it offers, what holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gendistil import background, settings
from gendistil.commands.options import AsJson, DataDir, Url, connected, errors_told
from gendistil.errors import GendistilError
from gendistil.tables import add, garbage_table, plain_table, presets_table
from gendistil.terminal import fail, make_console, note, print_json

app = typer.Typer()
HOST = "127.0.0.1"
UNSET = {"preset": "the service's own", "api_key": "none"}


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0, for all, wants --keys.")] = HOST,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Else 8000.", show_default=False)] = None,
    data_dir: DataDir = None,
    teacher: Annotated[list[str] | None, typer.Option(help="A student whose teacher answers where it abstains; may be repeated.")] = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Ask for API keys, as GENDISTIL_KEYS=required does, and print the first one if there is none.")
    ] = False,
    in_background: Annotated[bool, typer.Option("--background", help="Return once it is ready; 'gendistil down' stops it.")] = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start the whole service on this machine: Redis, workers and the API. Ctrl-C stops it."""
    with errors_told():
        folder = settings.data_dir(data_dir)
        if in_background:
            extra = [option for name in teacher or [] for option in ("--teacher", name)]
            print(background.start(folder, note, host=host, port=port, keys=keys, options=extra).url)
            return
    from app.embedded import run

    with _embedded_errors_told():
        run(host, port or background.PORT, folder, teachers=teacher or [], keys=keys, parent=parent)


@contextmanager
def _embedded_errors_told() -> Iterator[None]:
    from app.embedded import EmbeddedError

    try:
        yield
    except EmbeddedError as error:
        if error.log_tail:
            note(f"--- the log's last lines ---\n{error.log_tail}\n---")
        fail(GendistilError(error.detail, remedy=error.remedy))


@app.command()
def down(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the service of the data folder. What it has is kept; jobs that run go on with the next start."""
    with errors_told():
        folder = settings.data_dir(data_dir)
        pid = background.stop(folder)
    if as_json:
        print_json({"data_dir": str(folder), "stopped": pid})
    else:
        note(f"No service of {folder} runs." if pid is None else f"The service of {folder} (pid {pid}) has stopped.")


@app.command()
def presets(as_json: AsJson = False, url: Url = None) -> None:
    """List the presets that a job may name."""
    with connected(url) as client:
        found = client.presets()
        if as_json:
            print_json(found)
        else:
            make_console().print(presets_table(found))


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
    as_json: AsJson = False,
    url: Url = None,
) -> None:
    """Remove what no dataset, job or student uses: left by crashes, or by jobs that were deleted."""
    with connected(url) as client:
        answer = client.collect_garbage(dry_run=dry_run)
        if as_json:
            print_json(answer)
        else:
            make_console().print(garbage_table(answer))
        if answer.failed:
            raise typer.Exit(1)


@app.command()
def config(as_json: AsJson = False) -> None:
    """Show the settings that hold, and where each comes from: environment, ./gendistil.toml, the user's own file."""
    with errors_told():
        found = [settings.resolve(key) for key in settings.DEFAULTS]
    files = [str(path) for path in (settings.PROJECT_FILE, settings.user_file())]
    if as_json:
        held = {setting.key: {"value": setting.shown, "source": setting.source} for setting in found}
        print_json({"settings": held, "files": files})
        return
    table = plain_table("setting", "value", "from", "variable")
    for setting in found:
        add(table, setting.key, setting.shown or UNSET[setting.key], setting.source, settings.variable(setting.key))
    make_console().print(table)
    note(f"Files, the first before the second: {', '.join(files)}")
