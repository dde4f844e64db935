"""The model card (Mitchell et al. 2019) of a bundle: what the student is, what it learned from, what it scores, and where it ends."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from app.bundles.schemas import BundleInfo
from app.contracts.models import embedded_model
from app.contracts.report import Interval, Report
from app.contracts.students import STUDENTS, StudentManifest

_HEADER = """---
pipeline_tag: text-classification
library_name: onnx
tags: [gendistil, text-classification]
---
"""
_USE = """```
pip install numpy onnxruntime tokenizers
python predict.py "a text" "another text"
python predict.py --top-k 3 < texts.txt
```

or, from Python, `from predict import Student; Student(folder).predict(["a text"])`. Scores are those of the service's `POST /predict`.
Another gendistil takes this archive at `POST /students/import`."""


def model_card(info: BundleInfo, manifest: StudentManifest, report: Report | None) -> str:
    """Markdown with the front matter of model hubs."""
    sections = {
        "": _summary(info, manifest),
        "Use": _USE,
        "Labels": _labels(info, manifest, report),
        "Data": _data(info, report),
        "Scores": _scores(manifest, report),
        "Intended use, and limits": _limits(manifest, report),
        "Lineage": _lineage(manifest),
        "Licences": _licences(manifest),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in sections.items())
    return f"{_HEADER}\n# {info.name}:{info.version}\n\n{body}\n"


def _summary(info: BundleInfo, manifest: StudentManifest) -> str:
    about = STUDENTS.get(manifest.kind, "").partition(";")[0].rstrip(".")
    kind = f"`{manifest.kind}` student ({about})" if about else f"`{manifest.kind}` student"
    return (
        f"A text classifier with {len(manifest.labels)} labels: a {kind} of {manifest.parameters:,} parameters, {manifest.bytes:,} bytes "
        f"(ONNX file and tokenizer), published {info.published_at:%Y-%m-%d}.\n\n"
        "Made by generation and distillation ([arXiv 2002.00733](https://arxiv.org/abs/2002.00733)): a teacher was finetuned on labelled "
        "rows, a language model wrote more texts like them, and this student learned what the teacher says of both."
    )


def _table(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(heading)
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    """Labels are a caller's strings: none may end the cell, the table or the page."""
    plain = re.sub(r"\s+", " ", str(value))
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", plain)


def _figure(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _labels(info: BundleInfo, manifest: StudentManifest, report: Report | None) -> str:
    counts = info.data.label_counts if info.data else {}
    student = next((entry for entry in report.entries if entry.name == "student"), None) if report else None
    f1 = student.per_class_f1 if student else {}
    rows = [(label, counts.get(label, "unknown"), f"{100 * f1[label]:.1f} %" if label in f1 else "unknown") for label in manifest.labels]
    return _table(("label", "labelled rows", "F1 on the holdout"), rows)


def _data(info: BundleInfo, report: Report | None) -> str:
    lines = []
    if info.data:
        lines.append(f"- {info.data.rows:,} labelled rows, and {info.data.test_rows:,} test rows that were never learned from.")
    if report:
        kept, all_texts = report.generated.get("kept", 0), sum(report.generated.values())
        lines.append(f"- {all_texts:,} texts generated, of which {kept:,} passed the filters and were learned from.")
        if report.memorisation and report.memorisation.generated:
            lines += [f"- {report.memorisation.dropped()}", f"- {report.memorisation.left()}"]
        source = "the test rows" if report.holdout_source == "test" else "a stratified part of the labelled rows"
        lines.append(f"- Measured on {report.holdout_rows:,} rows: {source}.")
        if report.refit:
            lines.append("- After it was measured, the student learned from those rows too: the scores below are of the one before.")
    return "\n".join(lines) or "Not known."


def _scores(manifest: StudentManifest, report: Report | None) -> str:
    if report is None:
        return _table(("metric", "value"), ((name, f"{value:.4g}") for name, value in manifest.metrics.items()))
    rows = [
        (entry.name, _figure(entry.accuracy), _figure(entry.macro_f1), f"{100 * entry.agreement:.1f} %", f"{entry.parameters:,}")
        for entry in report.entries
    ]
    table = _table(("", "accuracy", "macro F1", "agreement with the teacher", "parameters"), rows)
    text = f"With 95 % bootstrap intervals over the holdout's rows.\n\n{table}\n\n{_cell(report.verdict)}"
    if manifest.selective:
        points = [(f"{p.precision:g}", f"{p.threshold:.4f}", f"{100 * p.coverage:.0f} %") for p in manifest.selective]
        thresholds = _table(("to be right so often", "answer from this score on", "texts answered"), points)
        text = f"{text}\n\nTo abstain where it is unsure:\n\n{thresholds}"
    return text


def _limits(manifest: StudentManifest, report: Report | None) -> str:
    lines = [
        "- Meant for texts like those it learned from, in their language. Any other text gets one of these labels too.",
        f"- It reads the first {manifest.max_tokens} pieces of a text and nothing after them.",
        f"- Scores are softmax(logits / {manifest.temperature:g}): how sure it is among its labels, not whether one of them applies.",
        "- It takes over what the labelled rows and the language model hold of errors and bias. Do not let it alone decide on people.",
    ]
    if report and report.holdout_rows < 200:
        lines.append(f"- The holdout is small ({report.holdout_rows} rows): mind the intervals.")
    lines += [f"- {_cell(warning)}" for warning in (report.warnings if report else [])]
    return "\n".join(lines)


def _lineage(manifest: StudentManifest) -> str:
    lineage = manifest.lineage
    rows: list[tuple[str, object]] = [(name, lineage[name]) for name in ("job", "dataset") if isinstance(lineage.get(name), str)]
    for part in ("artefacts", "seeds", "packages"):
        rows += [(f"{part}: {name}", value) for name, value in _items(lineage.get(part))]
    return _table(("", "hash, seed or version"), rows) if rows else "Not known."


def _licences(manifest: StudentManifest) -> str:
    spec = dict(_items(manifest.lineage.get("spec")))
    lines = []
    for role in ("teacher", "generator"):
        reference = dict(_items(spec.get(role))).get("model")
        if not isinstance(reference, str):
            continue
        known = embedded_model(reference)
        terms = f"{known.summary} Licence: {known.licence}." if known else "See its own licence."
        lines.append(f"- {role}: {_cell(reference)}. {terms}")
    lines.append("- The student's weights derive from these models and from your rows: both sets of terms go with them.")
    return "\n".join(lines)


def _items(part: Any) -> Iterator[tuple[str, Any]]:
    yield from part.items() if isinstance(part, dict) else ()
