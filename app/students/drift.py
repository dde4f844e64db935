"""Whether a version's live texts are still such as it was measured on."""

import re
from collections import Counter
from datetime import timedelta
from typing import get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contracts.profile import SCORE_BINS, Profile
from app.jobs.schemas import NAME_PATTERN
from app.students.divergence import divergence
from app.students.schemas import DistributionDrift, DriftOut, Reading, UnknownDrift
from app.students.service import unknown_name, unknown_part
from app.tables import Student, Traffic, utcnow

KEPT_DAYS = 90
LEAST_TEXTS = 100
_SHIFTED, _DRIFTED = 0.1, 0.25
"""Of the PSI: the usual rule of thumb (Siddiqi 2006)."""
_LEVEL = 0.01
_UNKNOWN_FACTOR, _UNKNOWN_SHIFTED, _UNKNOWN_DRIFTED = 2, 0.01, 0.05
_READINGS: tuple[Reading, ...] = get_args(Reading)
_TENTHS = [f"{place / SCORE_BINS:g}-{(place + 1) / SCORE_BINS:g}" for place in range(SCORE_BINS)]


def drift_report(session: Session, name: str, version: int, days: int) -> DriftOut:
    """Raises `ServiceError` 404."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise unknown_name(session, name)
    manifest = session.scalar(select(Student.manifest).where(Student.name == name, Student.version == version))
    if manifest is None:
        raise unknown_part(session, name, f"has no version {version}")
    profile = Profile.model_validate(manifest["profile"]) if manifest.get("profile") else None
    first = utcnow().date() - timedelta(days=days - 1)
    rows = list(session.scalars(select(Traffic).where(Traffic.name == name, Traffic.version == version, Traffic.day >= first)))
    live = _sum(rows)
    report = DriftOut(
        name=name,
        version=version,
        days=days,
        since=min((row.since for row in rows), default=None),
        texts=live.rows,
        holdout_rows=profile.rows if profile else None,
        status="too_few",
        verdict="",
        labels=None,
        scores=None,
        unknown_pieces=None,
        pieces_per_text=_rate(live.pieces, live.rows),
        holdout_pieces_per_text=_rate(profile.pieces, profile.rows) if profile else None,
    )
    if profile is None or not profile.rows:
        report.status, report.verdict = "no_reference", "Cannot be told: this version keeps no profile of its holdout. A new version will."
    elif live.rows < LEAST_TEXTS:
        report.verdict = f"Not enough traffic yet: {live.rows:,} texts in this time, it takes {LEAST_TEXTS}."
    else:
        _compare(report, live, profile)
    return report


def _compare(report: DriftOut, live: Profile, holdout: Profile) -> None:
    labels = list(holdout.labels) + [label for label in live.labels if label not in holdout.labels]
    report.labels = _distribution(
        labels, [holdout.labels.get(label, 0) for label in labels], [live.labels.get(label, 0) for label in labels]
    )
    report.scores = _distribution(_TENTHS, holdout.scores, live.scores)
    report.unknown_pieces = _unknown(live, holdout)
    parts = (report.labels, report.scores, report.unknown_pieces)
    report.status = max((part.reading for part in parts), key=_READINGS.index)
    report.verdict = _verdict(report.labels, report.scores, report.unknown_pieces, report.status, live.rows)


def _sum(rows: list[Traffic]) -> Profile:
    labels: Counter[str] = Counter()
    scores = [0] * SCORE_BINS
    for row in rows:
        labels.update(row.labels)
        scores = [count + more for count, more in zip(scores, row.scores, strict=True)]
    texts, pieces, unknown = (sum(getattr(row, figure) for row in rows) for figure in ("texts", "pieces", "unknown"))
    return Profile(rows=texts, labels=labels, scores=scores, pieces=pieces, unknown=unknown)


def _distribution(categories: list[str], holdout: list[int], live: list[int]) -> DistributionDrift:
    found = divergence(holdout, live)
    excess = found.psi - found.by_chance
    if found.p_value > _LEVEL or excess < _SHIFTED:
        reading: Reading = "stable"
    else:
        reading = "shifted" if excess <= _DRIFTED else "drifted"
    return DistributionDrift(
        reading=reading,
        psi=found.psi,
        psi_by_chance=found.by_chance,
        p_value=found.p_value,
        total_variation=found.total_variation,
        live={category: count / sum(live) for category, count in zip(categories, live, strict=True)},
        holdout={category: count / sum(holdout) for category, count in zip(categories, holdout, strict=True)},
    )


def _unknown(live: Profile, holdout: Profile) -> UnknownDrift:
    """No test: unknown pieces come in clusters, so their number says little of chance. The margins are wider than a small holdout's."""
    now, before = _rate(live.unknown, live.pieces) or 0.0, _rate(holdout.unknown, holdout.pieces) or 0.0
    reading: Reading = "stable"
    if now >= _UNKNOWN_FACTOR * before and now - before >= _UNKNOWN_SHIFTED:
        reading = "drifted" if now - before >= _UNKNOWN_DRIFTED else "shifted"
    return UnknownDrift(reading=reading, live=now, holdout=before, ratio=now / before if before else None)


def _verdict(labels: DistributionDrift, scores: DistributionDrift, unknown: UnknownDrift, status: str, texts: int) -> str:
    if status == "stable":
        return f"Stable: {texts:,} texts are as the holdout's, as far as can be told."
    reasons = []
    if labels.reading != "stable":
        label = max(labels.live, key=lambda label: labels.live[label] - labels.holdout[label])
        reasons.append(f"labels are other ones ({label!r} {labels.live[label]:.1%}, there {labels.holdout[label]:.1%})")
    if scores.reading != "stable":
        lower = _mean(scores.live) < _mean(scores.holdout)
        reasons.append(
            f"scores are {'lower' if lower else 'other ones'} (mean {_mean(scores.live):.2f}, there {_mean(scores.holdout):.2f})"
        )
    if unknown.reading != "stable":
        reasons.append(f"{unknown.live:.1%} of pieces are unknown (there {unknown.holdout:.1%})")
    # Labels alone may just be more of what the student knows well; the other two say that it knows less.
    alone = scores.reading == unknown.reading == "stable"
    advice = "Its answers may well be right still." if alone else "Label some of these texts, and make a new version with them."
    return f"{status.capitalize()} from the holdout: {'; '.join(reasons)}. {advice}"


def _mean(shares: dict[str, float]) -> float:
    """Of scores, from their tenths' middles."""
    return sum(share * (place + 0.5) / SCORE_BINS for place, share in enumerate(shares.values()))


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
