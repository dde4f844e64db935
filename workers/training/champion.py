"""The version that `latest` means, beside a new one, on rows of the new holdout that neither had learned when it answered."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from app.contracts.comparison import ANSWERS_FILE, Comparison, MeasuredAnswers
from app.contracts.rows import Row
from app.contracts.spec import PublishSpec
from app.contracts.students import ONNX_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from workers.training.distillation import student_ids
from workers.training.metrics import Indices, bootstrap_rows, difference_interval
from workers.training.onnx_export import onnx_logits
from workers.training.split import Split


@dataclass(frozen=True)
class Champion:
    """A published version, its files in `folder`."""

    version: int
    folder: Path


def write_answers(folder: Path, split: Split, answers: Indices) -> None:
    """Keeps what the measured student answers on the holdout, (N,), and which rows the published one has learned from."""
    given = {text_hash(row.text): split.labels[answer] for row, answer in zip(split.holdout, answers.tolist(), strict=True)}
    learned = sorted({text_hash(row.text) for row in split.seed_rows(split.lineages[-1])})
    (folder / ANSWERS_FILE).write_text(MeasuredAnswers(learned=learned, answers=given).model_dump_json(), encoding="utf-8")


def compare(split: Split, new: Path, champion: Champion, spec: PublishSpec) -> Comparison:
    """`new`: the folder of the new version's artefact. A label that the champion does not know counts as answered wrong by it.

    Rows that it has learned from are left out, but for those of its own holdout: there its answers from before are known.
    """
    manifest, newer = _manifest(champion.folder), _manifest(new)
    if not set(manifest.labels) & set(split.labels):
        return Comparison(champion=champion.version, obstacle="they have no label in common")
    known = _answers(champion.folder)
    if known is None and manifest.lineage.get("dataset") == newer.lineage.get("dataset"):
        return Comparison(champion=champion.version, obstacle="it has learned from the same rows, and kept no answers from before")
    known = known or MeasuredAnswers(learned=[], answers={})
    rows = _comparable(split.holdout, known)
    if not rows:
        return Comparison(champion=champion.version, obstacle="it has learned from all held-out rows")
    truth = [row.label for row in rows]
    own = (_answers(new) or MeasuredAnswers(learned=[], answers={})).answers
    hits = np.array([own.get(text_hash(row.text)) == row.label for row in rows])
    answers = _champions_answers(rows, champion.folder, manifest, known)
    champion_hits = np.array([answer == label for answer, label in zip(answers, truth, strict=True)])
    return Comparison(
        champion=champion.version,
        rows=len(rows),
        accuracy=float(hits.mean()),
        champion_accuracy=float(champion_hits.mean()),
        won=int((hits & ~champion_hits).sum()),
        lost=int((~hits & champion_hits).sum()),
        difference=difference_interval(hits, champion_hits, bootstrap_rows(len(rows), spec.bootstrap_samples, spec.seed)),
    )


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _comparable(rows: list[Row], known: MeasuredAnswers) -> list[Row]:
    learned = set(known.learned) - set(known.answers)
    return [row for row in rows if text_hash(row.text) not in learned]


def _champions_answers(rows: list[Row], folder: Path, manifest: StudentManifest, known: MeasuredAnswers) -> list[str]:
    asked = [row.text for row in rows if text_hash(row.text) not in known.answers]
    answers = dict(known.answers)
    if asked:
        ids = student_ids(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), asked, manifest.max_tokens, manifest.pad_id)
        best = onnx_logits(folder / ONNX_FILE, ids, manifest.pad_id).argmax(-1).tolist()
        answers |= {text_hash(text): manifest.labels[index] for text, index in zip(asked, best, strict=True)}
    return [answers[text_hash(row.text)] for row in rows]


def _manifest(folder: Path) -> StudentManifest:
    return StudentManifest.model_validate_json((folder / STUDENT_MANIFEST_FILE).read_bytes())


def _answers(folder: Path) -> MeasuredAnswers | None:
    """None of an artefact that has none: an imported one, or an older one."""
    path = folder / ANSWERS_FILE
    return MeasuredAnswers.model_validate_json(path.read_bytes()) if path.is_file() else None
