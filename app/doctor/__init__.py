"""`gendistil doctor`: whether this machine and what its settings name can run the service, and what to mend."""

from pathlib import Path

from pydantic import ValidationError

from app.config import Settings
from app.doctor.access import keys
from app.doctor.findings import Finding
from app.doctor.machine import cpu, gpu, memory, packages, python, weights
from app.doctor.parts import database, redis_server, room, storage
from app.errors import field_errors

__all__ = ["Finding", "examine"]


def examine(data_dir: Path) -> list[Finding]:
    """Reads only, but for a file that is written into a blob store that is there, to see that this can be done. Never raises."""
    found = [python(), packages()]
    try:
        settings = Settings(data_dir=data_dir)
    except ValidationError as error:
        faults = "; ".join(f"{item.column or 'settings'}: {item.detail}" for item in field_errors(error))
        return [*found, Finding("settings", "fail", faults, "Mend the environment variable or the .env file that it names.")]
    return [
        *found,
        *weights(settings),
        redis_server(settings),
        database(settings),
        storage(settings),
        keys(settings),
        room(settings),
        memory(),
        cpu(),
        gpu(),
    ]
