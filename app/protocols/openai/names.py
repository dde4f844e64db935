"""Ids of this protocol, and the service's own ids behind them."""

import re

from app.jobs.schemas import NAME_PATTERN
from app.protocols.openai.errors import no_such_model
from app.students.schemas import ALIAS_PATTERN
from app.tables import Job

ORGANIZATION = "gendistil"
JOB, FILE, RESULTS, EVENT, CHECKPOINT = "ftjob-", "file-", "file-results-", "ftevent-", "ftckpt-"
_OWN_JOB = "job_"
_HEX = re.compile(r"[0-9a-f]{1,32}", re.ASCII)


def fine_tuned_name(kind: str, name: str, version: int) -> str:
    """A version as a model, `ft:cnn:gendistil:triage:1`; `kind` is the student's."""
    return f"ft:{kind}:{ORGANIZATION}:{name}:{version}"


def fine_tuned_model(job: Job) -> str | None:
    """Of a job that has published."""
    student = job.student
    return fine_tuned_name(student.kind, student.name, student.version) if student else None


def reference_of(model: str) -> str:
    """The service's own reference of a model: `name`, `name@alias` or `name:version`. Raises `ServiceError` 404 for what can be none."""
    if model.startswith("ft:"):
        parts = model.split(":")
        if len(parts) != 5:
            raise no_such_model(model)
        model = f"{parts[3]}:{parts[4]}"
    name, *tail = re.split("([@:])", model, maxsplit=1)
    separator, rest = tail or ("", "")
    known = {"": "", ":": "[0-9]{1,9}", "@": ALIAS_PATTERN}
    if not re.fullmatch(NAME_PATTERN, name) or not re.fullmatch(known[separator], rest):
        raise no_such_model(model)
    return model


def job_id(identifier: str, prefix: str = JOB) -> str | None:
    """The service's own id of the job that an id of this protocol tells; None if it tells none."""
    found = identifier.removeprefix(prefix)
    return f"{_OWN_JOB}{found}" if identifier.startswith(prefix) and _HEX.fullmatch(found) else None


def public_id(own: str, prefix: str = JOB) -> str:
    return f"{prefix}{own.removeprefix(_OWN_JOB)}"


def student_name(suffix: str | None, fallback: str) -> str:
    """A name that a student may have, of what a caller wrote."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", (suffix or "").lower()).strip("-_.")[:63].strip("-_.")
    return name or fallback
