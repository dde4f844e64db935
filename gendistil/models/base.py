"""What all answers share, and what several of them hold."""

from pydantic import BaseModel, ConfigDict

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
"""Statuses in which a job, a stage or a bulk prediction stays."""


class Answer(BaseModel):
    """Frozen; fields that a newer service adds are kept, not refused."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Fault(Answer):
    """Why work failed."""

    type: str = ""
    detail: str = ""
    remedy: str | None = None


class Progress(Answer):
    done: float = 0.0
    total: float = 0.0
    unit: str = ""


class Interval(Answer):
    """A figure with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float
