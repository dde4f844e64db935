"""`gendistil doctor`: what is amiss on this machine, and what to do."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from gendistil import settings
from gendistil.client import Client
from gendistil.commands.options import LOG_IN, AsJson, DataDir, Url, address, errors_told
from gendistil.errors import GendistilError, Unauthenticated
from gendistil.terminal import make_console, print_json

if TYPE_CHECKING:
    from app.doctor import Finding

MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "bold red")}
SECONDS = 10.0

app = typer.Typer()


@app.command()
def doctor(data_dir: DataDir = None, as_json: AsJson = False, url: Url = None) -> None:
    """Check this machine, what the settings name, and the service's address. Ends with code 1 if something must be mended."""
    from app.doctor import examine

    with errors_told():
        found = [*examine(settings.data_dir(data_dir)), *_service(url)]
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        console = make_console()
        for finding in found:
            mark, style = MARKS[finding.status]
            console.print(Text.assemble((mark, style), f"  {finding.name}: {finding.detail}"), soft_wrap=True)
            if finding.remedy:
                console.print(Text(f"      {finding.remedy}"), soft_wrap=True)
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(1)


def _service(url: str | None) -> "list[Finding]":
    """One that was named must answer."""
    from app.doctor import Finding

    where = address(url)
    try:
        with Client(where, timeout=SECONDS, api_key="") as client:
            client.ready()
            return [Finding("service", "ok", f"ready at {where}"), _key(client)]
    except GendistilError as error:
        named = settings.resolve("url", url).chosen
        if error.status is None and not named:
            return [Finding("service", "warn", f"none answers at {where}", "Start it: gendistil up --background")]
        return [Finding("service", "fail", f"{where}: {error.detail}", error.remedy)]


def _key(without: Client) -> "Finding":
    """Whether the service takes the key that commands send. `without`: a client that sends none."""
    from app.doctor import Finding

    where = without.base_url
    held = settings.api_key_setting(where)
    try:
        without.catalogue()
        return Finding("key", "ok", f"{where} asks for none")
    except Unauthenticated:
        if held is None:
            return Finding("key", "warn", f"{where} asks for one, and there is none for it", LOG_IN)
    try:
        with Client(where, timeout=SECONDS, api_key=held.value) as client:
            client.ready()
    except Unauthenticated as error:
        return Finding("key", "fail", f"that of {held.source}: {error.detail}", LOG_IN)
    return Finding("key", "ok", f"{where} takes that of {held.source}")
