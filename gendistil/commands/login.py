"""The user's own key, kept for the commands to come."""

import sys
from pathlib import Path

import typer

from gendistil import credentials, settings
from gendistil.client import Client
from gendistil.commands.options import Url, address, errors_told
from gendistil.errors import GendistilError, Unauthenticated
from gendistil.terminal import note
from gendistil.transport import is_own

app = typer.Typer()


@app.command()
def login(url: Url = None) -> None:
    """Keep an API key in your own settings file, which only you can read.

    It is asked for without echo, or read from standard input. There is no option for it: shells keep what is typed, and other users see
    the arguments of what runs. Programs get theirs by GENDISTIL_API_KEY, which goes before the file.
    """
    with errors_told():
        where = address(url)
        if not _asks(where):
            note(f"{where} asks for no key: there is nothing to log in to.")
            return
        if not is_own(where) and where.startswith("http://"):
            note("Warning: without https, all that lies between can read the key.", "yellow")
        key = _key()
        _check(where, key)
        path = credentials.keep(key, where)
        meant = settings.read_file(path).get("url")
        whereto = f"{meant} alone, where commands go from now on" if meant else "this machine alone"
        note(f"The key is kept in {path}. It is sent to {whereto}.")
        _tell_of_others(where, path)


@app.command()
def logout() -> None:
    """Take the API key out of your settings file. It stays good until it is revoked: gendistil keys revoke."""
    with errors_told():
        path = credentials.forget()
    note(f"The key is no longer in {path}; it is good until it is revoked." if path else f"There is no key in {settings.user_file()}.")


def _asks(where: str) -> bool:
    try:
        with Client(where, api_key="") as client:
            client.catalogue()
    except Unauthenticated:
        return True
    return False


def _key() -> str:
    shown = typer.prompt("API key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    key: str = shown.strip()
    if not key:
        raise GendistilError("No key was given.", remedy="Type or paste it, or send it to standard input: gendistil login < key.txt")
    return key


def _check(where: str, key: str) -> None:
    """Raises `GendistilError` unless the service knows it. Which scopes it has does not matter: even `/readyz` wants no wrong key."""
    try:
        with Client(where, api_key=key) as client:
            client.ready()
    except Unauthenticated as error:
        remedy = "See that it was copied as a whole. Whoever runs the service makes one: gendistil keys create."
        raise GendistilError(error.detail, type=error.type, status=error.status, remedy=remedy) from error


def _tell_of_others(where: str, path: Path) -> None:
    held = settings.api_key_setting(where)
    if held is not None and held.source == settings.variable("api_key"):
        note(f"Warning: {held.source} goes before it.", "yellow")
    elif held is not None and Path(held.source).resolve() != path:
        note(f"Warning: the key of {held.source} goes before it.", "yellow")
