"""Published students, their aliases, shadows and drift."""

from datetime import datetime

from gendistil.models.base import Answer


class Promotion(Answer):
    """Whether `latest` moved to a version when it was published, and why."""

    moved: bool
    reason: str = ""


class PublishedVersion(Answer):
    """One version of a student; `bytes`: ONNX and tokenizer file together."""

    name: str
    version: int
    kind: str = ""
    labels: list[str] = []
    metrics: dict[str, float] = {}
    parameters: int | None = None
    bytes: int | None = None
    precision: str = ""
    job_id: str | None = None
    promotion: Promotion | None = None
    created_at: datetime | None = None


class Student(Answer):
    """A name, its versions with the newest first, and the version that each alias stands for."""

    name: str
    versions: list[PublishedVersion] = []
    aliases: dict[str, int] = {}


class Alias(Answer):
    name: str
    alias: str
    version: int
    updated_at: datetime | None = None


class AliasMove(Answer):
    """`from_version` is None where the alias was made, `to_version` where it was deleted."""

    id: int
    from_version: int | None = None
    to_version: int | None = None
    cause: str = ""
    reason: str | None = None
    at: datetime | None = None


class Shadow(Answer):
    """A version that is scored beside those that answer. `agreement` is None before the first text."""

    name: str
    version: int
    share: float
    since: datetime | None = None
    texts: int = 0
    agreed: int = 0
    agreement: float | None = None
    milliseconds: float | None = None
    shadow_milliseconds: float | None = None
    dropped: int = 0
    failed: int = 0


class DistributionDrift(Answer):
    """Live texts beside the holdout's, by category. `reading`: stable, shifted or drifted."""

    reading: str
    psi: float
    psi_by_chance: float
    p_value: float
    total_variation: float
    live: dict[str, float] = {}
    holdout: dict[str, float] = {}


class UnknownDrift(Answer):
    """Pieces that the student does not know, as shares of all."""

    reading: str
    live: float
    holdout: float
    ratio: float | None = None


class Drift(Answer):
    """`status`: no_reference, too_few, stable, shifted or drifted; `verdict` says it in a line."""

    name: str
    version: int
    days: int
    since: datetime | None = None
    texts: int
    holdout_rows: int | None = None
    status: str
    verdict: str
    labels: DistributionDrift | None = None
    scores: DistributionDrift | None = None
    unknown_pieces: UnknownDrift | None = None
