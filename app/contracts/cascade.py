"""What the API and a worker that holds a teacher say to each other through Redis.

The API pushes an `Ask` to a student's list, and the worker pushes its answer to a list of that ask alone: the probabilities (N, C) of
the teacher, row by row as little-endian doubles (`ANSWER_TYPE`), or nothing at all if it failed. All of it may be lost at any time.
"""

from pydantic import BaseModel, ConfigDict

ANSWER_TYPE = "<f8"
PRESENCE_SECONDS = 5.0
"""Silence after which a worker counts as gone."""
KEPT_SECONDS = 30
"""That texts and answers which nobody fetches stay in Redis."""


class Ask(BaseModel):
    """`texts`: one at least. `until`: seconds by Redis's own clock, the one that all machines share; later nobody waits any more."""

    model_config = ConfigDict(frozen=True)

    id: str
    texts: list[str]
    until: float


def presence_key(student: str) -> str:
    """Exists while a worker holds the teacher of the student with this artefact key."""
    return f"gendistil:teacher:{student}:up"


def asks_key(student: str) -> str:
    """The list of what is asked on behalf of the student with this artefact key."""
    return f"gendistil:teacher:{student}:asks"


def answer_key(ask: str) -> str:
    return f"gendistil:teacher:answer:{ask}"
