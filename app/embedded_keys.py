"""What `gendistil up` does about API keys before anything starts."""

from pathlib import Path
from typing import Literal

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.access.exposure import is_loopback
from app.access.schemas import KeyIn
from app.access.service import create_key
from app.database import make_engine
from app.embedded_parts import EmbeddedError, read_settings, upgrade_database
from app.ownership import every_project
from app.tables import ApiKey

Mode = Literal["auto", "required", "off"]


def check_address(host: str, data_dir: Path, *, required: bool) -> Mode:
    """What holds for keys; `required`: by `--keys`. Raises `EmbeddedError` for an address that others reach, if none are asked for."""
    mode: Mode = "required" if required else read_settings(data_dir).keys
    if mode == "auto" and not is_loopback(host):
        raise EmbeddedError(
            f"Others may reach {host or 'every address of this machine'}, and this service asks for no API keys.",
            "Start it with --keys, which asks for them and makes the first one, or set GENDISTIL_KEYS=off if whoever reaches this address "
            "may do everything.",
        )
    return mode


def first_key(data_dir: Path) -> str | None:
    """A new key with the scope `operator`, if there has never been one. Migrates the database. Raises `EmbeddedError`."""
    upgrade_database(data_dir)
    engine = make_engine(read_settings(data_dir).resolved_database_url())
    try:
        with every_project(), Session(engine) as session, session.begin():
            if session.scalar(select(exists(select(ApiKey.id)))):
                return None
            return create_key(session, KeyIn(name="first key", scopes=["operator"]), actor="gendistil up").key
    finally:
        engine.dispose()


def shown(key: str) -> list[str]:
    """Lines that nobody overlooks."""
    rule = "=" * 76
    what = "The first API key. It may do everything, and is shown this once: keep it now."
    return [rule, what, "", f"    {key}", "", "Use it: gendistil login, GENDISTIL_API_KEY, or the login of the page.", rule]
