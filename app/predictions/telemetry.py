"""What predictions tell of themselves. Plain counters, written by the event loop alone and read when Prometheus asks.

The client library's own objects take a lock and look up a series each time, which is a tenth of a prediction's time.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from app.predictions.admission import Admission
from app.predictions.cache import StudentCache
from app.predictions.schemas import Prediction

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MAX_STUDENTS = 1000
MAX_LABELS = 100
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


class _Series:
    """Of one version of one student."""

    def __init__(self) -> None:
        self.seconds = _Buckets(SECONDS)
        self.texts = 0
        self.abstained = 0
        self.labels: Counter[str] = Counter()

    def count(self, predictions: Iterable[Prediction]) -> None:
        for prediction in predictions:
            self.texts += 1
            self.abstained += prediction.abstained
            label = prediction.label
            self.labels[label if label in self.labels or len(self.labels) < MAX_LABELS else OTHER] += 1


class Telemetry(Collector):
    def __init__(self, admission: Admission, students: StudentCache) -> None:
        self._admission, self._students = admission, students
        self._series: dict[tuple[str, str], _Series] = {}
        self._batches = _Buckets(TEXTS)

    def called(self, texts: int) -> None:
        """A call of a student with so many texts, perhaps of several requests."""
        self._batches.observe(texts)

    def answered(self, name: str, version: int, predictions: list[Prediction], seconds: float) -> None:
        key = name, str(version)
        if (series := self._series.get(key)) is None:
            key = key if len(self._series) < MAX_STUDENTS else (OTHER, OTHER)
            series = self._series.setdefault(key, _Series())
        series.seconds.observe(seconds)
        series.count(predictions)

    def collect(self) -> Iterator[Metric]:
        """Families as of now."""
        labels = ["student", "version"]
        seconds = HistogramMetricFamily("gendistil_predict_seconds", "From the parsed request to its predictions.", labels=labels)
        texts = CounterMetricFamily("gendistil_predict_texts", "Texts classified.", labels=labels)
        abstained = CounterMetricFamily("gendistil_predict_abstained", "Texts whose score was below the threshold.", labels=labels)
        answers = CounterMetricFamily("gendistil_predict_labels", "Texts by the label that was answered.", labels=[*labels, "label"])
        for key, series in list(self._series.items()):
            seconds.add_metric(key, series.seconds.cumulative(), series.seconds.sum)
            texts.add_metric(key, series.texts)
            abstained.add_metric(key, series.abstained)
            for label, count in list(series.labels.items()):
                answers.add_metric((*key, label), count)
        batches = HistogramMetricFamily("gendistil_predict_batch_texts", "Texts in one call of a student.")
        batches.add_metric([], self._batches.cumulative(), self._batches.sum)
        refused = CounterMetricFamily("gendistil_predict_refused", "Requests answered 429, by the limit.", labels=["limit"])
        for limit, count in list(self._admission.refused.items()):
            refused.add_metric([limit], count)
        yield from (seconds, texts, abstained, answers, batches, refused)
        yield GaugeMetricFamily("gendistil_predict_requests", "Predictions in work or waiting.", self._admission.requests)
        yield from self._cache()

    def _cache(self) -> Iterator[Metric]:
        figures = self._students.figures()
        yield CounterMetricFamily("gendistil_student_cache_hits", "Requests that found their student in memory.", figures.hits)
        yield CounterMetricFamily("gendistil_student_cache_misses", "Requests that had to wait for it to be loaded.", figures.misses)
        yield CounterMetricFamily("gendistil_student_cache_evictions", "Students dropped for others.", figures.evictions)
        yield GaugeMetricFamily("gendistil_student_cache_students", "Students in memory.", figures.students)
        yield GaugeMetricFamily("gendistil_student_cache_bytes", "What they count for.", figures.bytes)
