"""What predictions tell of themselves. Plain counters, written by the event loop alone and read when Prometheus asks.

The client library's own objects take a lock and look up a series each time, which is a tenth of a prediction's time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.contracts.profile import SCORE_BINS
from app.predictions.admission import Admission
from app.predictions.cache import StudentCache
from app.predictions.schemas import Prediction

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MAX_STUDENTS = 1000
MAX_LABELS = 100
LABELS = ("project", "student", "version")
Key = tuple[str, str, int]
"""Project, name and version."""
OTHER = "other"
"""Of the students and labels beyond those."""


class _Buckets:
    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        total, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), list(self.counts), strict=True):
            total += count
            found.append((bound, float(total)))
        return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one version: texts by the label and by the tenth of the score that were answered, and the pieces that it read of them."""

    texts: int
    labels: dict[str, int]
    scores: list[int]
    pieces: int
    unknown: int


class _Series:
    """Of one version of one student, whose labels are bounded, or of all versions beyond the limit, whose labels are cut at one."""

    def __init__(self, max_labels: int | None = None) -> None:
        self.max_labels = max_labels
        self.seconds = _Buckets(SECONDS)
        self.texts = 0
        self.abstained = 0
        self.labels: Counter[str] = Counter()
        self.scores = [0] * (SCORE_BINS + 1)  # the first stays 0, and saves a subtraction for each text
        self.score_sum = 0.0
        self.pieces = 0
        self.unknown = 0

    def count(self, predictions: list[Prediction]) -> None:
        labels, scores = self.labels, self.scores
        score_sum, abstained = 0.0, 0
        for prediction in predictions:
            labels[prediction.label] += 1
            score = prediction.score
            scores[ceil(score * SCORE_BINS)] += 1
            score_sum += score
            if prediction.abstained:
                abstained += 1
        self.texts += len(predictions)
        self.abstained += abstained
        self.score_sum += score_sum
        if self.max_labels is not None and len(labels) > self.max_labels:
            self.labels = _shown(labels)

    def counts(self) -> Counts:
        return Counts(self.texts, dict(self.labels), self.scores[1:], self.pieces, self.unknown)

    def cumulative_scores(self) -> list[tuple[str, float]]:
        found = [(f"{place / SCORE_BINS:g}", float(total)) for place, total in enumerate(accumulate(self.scores))][1:]
        return [*found, ("+Inf", found[-1][1])]


class Telemetry(Collector):
    def __init__(self, admission: Admission, students: StudentCache) -> None:
        self._admission, self._students = admission, students
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._batches = _Buckets(TEXTS)

    def called(self, texts: int) -> None:
        """A call of a student with so many texts, perhaps of several requests."""
        self._batches.observe(texts)

    def answered(
        self,
        project: str,
        name: str,
        version: int,
        predictions: list[Prediction],
        seconds: float,
        pieces: int = 0,
        unknown: int = 0,
    ) -> None:
        """`pieces`: what the student has read of the texts, and how many of those are `unknown`."""
        key = project, name, str(version)
        if (series := self._series.get(key)) is None:
            if len(self._series) < MAX_STUDENTS:
                series = self._series[key] = _Series()
            else:
                series = self._series.setdefault((OTHER, OTHER, OTHER), _Series(MAX_LABELS))
        series.seconds.observe(seconds)
        series.count(predictions)
        series.pieces += pieces
        series.unknown += unknown

    def counts(self) -> dict[Key, Counts]:
        """Since the start. May be asked from another thread."""
        found = list(self._series.items())
        return {(project, name, int(version)): series.counts() for (project, name, version), series in found if version != OTHER}

    def collect(self) -> Iterator[Metric]:
        """Families as of now."""
        labels = list(LABELS)
        seconds = HistogramMetricFamily("gendistil_predict_seconds", "From the parsed request to its predictions.", labels=labels)
        texts = CounterMetricFamily("gendistil_predict_texts", "Texts classified.", labels=labels)
        abstained = CounterMetricFamily("gendistil_predict_abstained", "Texts whose score was below the threshold.", labels=labels)
        answers = CounterMetricFamily("gendistil_predict_labels", "Texts by the label that was answered.", labels=[*labels, "label"])
        scores = HistogramMetricFamily("gendistil_predict_score", "Of the label that was answered.", labels=labels)
        pieces = CounterMetricFamily("gendistil_predict_pieces", "Pieces that students have read.", labels=labels)
        unknown = CounterMetricFamily("gendistil_predict_unknown_pieces", "Of those, pieces that they cannot tell apart.", labels=labels)
        for key, series in list(self._series.items()):
            seconds.add_metric(key, series.seconds.cumulative(), series.seconds.sum)
            texts.add_metric(key, series.texts)
            abstained.add_metric(key, series.abstained)
            for label, count in _shown(series.labels).items():
                answers.add_metric((*key, label), count)
            scores.add_metric(key, series.cumulative_scores(), series.score_sum)
            pieces.add_metric(key, series.pieces)
            unknown.add_metric(key, series.unknown)
        batches = HistogramMetricFamily("gendistil_predict_batch_texts", "Texts in one call of a student.")
        batches.add_metric([], self._batches.cumulative(), self._batches.sum)
        refused = CounterMetricFamily("gendistil_predict_refused", "Requests answered 429, by the limit.", labels=["limit"])
        for limit, count in list(self._admission.refused.items()):
            refused.add_metric([limit], count)
        yield from (seconds, texts, abstained, answers, scores, pieces, unknown, batches, refused)
        yield GaugeMetricFamily("gendistil_predict_requests", "Predictions in work or waiting.", self._admission.requests)
        yield from self._cache()

    def _cache(self) -> Iterator[Metric]:
        figures = self._students.figures()
        yield CounterMetricFamily("gendistil_student_cache_hits", "Requests that found their student in memory.", figures.hits)
        yield CounterMetricFamily("gendistil_student_cache_misses", "Requests that had to wait for it to be loaded.", figures.misses)
        yield CounterMetricFamily("gendistil_student_cache_evictions", "Students dropped for others.", figures.evictions)
        yield GaugeMetricFamily("gendistil_student_cache_students", "Students in memory.", figures.students)
        yield GaugeMetricFamily("gendistil_student_cache_bytes", "What they count for.", figures.bytes)


def _shown(labels: Counter[str]) -> Counter[str]:
    """Those that were met first, and the others together."""
    found = list(labels.items())
    shown = Counter(dict(found[:MAX_LABELS]))
    if len(found) > MAX_LABELS:
        shown[OTHER] += sum(count for _, count in found[MAX_LABELS:])
    return shown
