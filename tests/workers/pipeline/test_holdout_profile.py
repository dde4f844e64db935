"""The reference of the drift report, beside what the serving side counts."""

from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram

from app.config import Serving
from app.contracts.profile import pack_ids
from app.contracts.projects import DEFAULT_PROJECT
from app.contracts.report import Report
from app.contracts.stages import Stage
from app.contracts.students import REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE, StudentManifest
from app.predictions.admission import Admission
from app.predictions.batching import score
from app.predictions.cache import StudentCache
from app.predictions.runtime import load_student
from app.predictions.service import ranked
from app.predictions.telemetry import Telemetry
from app.storage import BlobStore
from tests.app.storage.conftest import manifest_of
from tests.workers.conftest import MemoryRecorder, NewFolder, StageResult
from workers.pipeline.publish import PublishInputs, PublishMetrics, publish
from workers.students.vocabulary import choose_vocabulary
from workers.training.calibration import softmax
from workers.training.candidates import run_logits
from workers.training.profile import unknown_pieces
from workers.training.split import Split


def test_the_profile_is_what_the_serving_side_counts_on_the_holdout(
    publish_inputs: PublishInputs, split: Split, new_folder: NewFolder
) -> None:
    """Without refit, so that the student that ships is the one that was measured."""
    out = new_folder("unrefitted")
    publish(replace(publish_inputs, split=replace(split, refit=False)), out, MemoryRecorder())
    folder = new_folder("store")
    storage = BlobStore(f"file://{folder}/blobs", folder / "cache")
    storage.publish(out, manifest_of(out, [file.name for file in out.iterdir()], "key", Stage.PUBLISH))
    student = load_student(storage, "key")
    telemetry = Telemetry(Admission(Serving()), StudentCache(lambda key: student, 1))
    texts = [row.text for row in split.holdout]
    scored = score(student, texts)
    predictions = ranked(scored.probabilities, student.manifest.labels, 1, None)
    telemetry.answered(DEFAULT_PROJECT, "triage", 1, predictions, 0.1, scored.pieces, scored.unknown)
    counts, profile = telemetry.counts()["default", "triage", 1], student.manifest.profile
    assert profile is not None
    assert (profile.rows, profile.pieces, profile.unknown) == (counts.texts, counts.pieces, counts.unknown)
    assert {label: count for label, count in profile.labels.items() if count} == counts.labels
    assert profile.scores == counts.scores
    assert sum(place > 0 for place in profile.scores) > 1


def test_the_profile_is_of_the_student_that_has_not_learned_from_the_holdout(
    published: StageResult[PublishMetrics], publish_inputs: PublishInputs, split: Split
) -> None:
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    report = Report.model_validate_json((published.folder / REPORT_FILE).read_bytes())
    assert report.scores is not None
    logits = run_logits(publish_inputs.students, "student", [row.text for row in split.holdout]).double().numpy()
    scores = softmax(logits, report.scores.student.temperature).max(1)
    assert manifest.profile is not None
    assert manifest.profile.scores == np.histogram(scores, 10, (0, 1))[0].tolist()
    assert list(manifest.profile.labels.values()) == np.bincount(logits.argmax(1), minlength=3).tolist()


def test_unknown_is_what_the_tokenizer_does_not_know(published: StageResult[PublishMetrics]) -> None:
    tokenizer = Tokenizer.from_file(str(published.folder / TOKENIZER_FILE))
    unknown = tokenizer.token_to_id("[UNK]")
    assert unknown_pieces(tokenizer, None) == {unknown}
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    assert manifest.unknown_pieces == pack_ids([unknown])
    assert unknown_pieces(Tokenizer(Unigram([("a", -1.0), ("<unk>", -2.0)], unk_id=1)), None) == {1}
    assert unknown_pieces(Tokenizer(BPE({"a": 0}, [])), None) == set()


def test_unknown_is_what_has_no_row_of_its_own(published: StageResult[PublishMetrics]) -> None:
    tokenizer = Tokenizer.from_file(str(published.folder / TOKENIZER_FILE))
    unknown = tokenizer.token_to_id("[UNK]")
    vocabulary = choose_vocabulary(4000, 0, unknown, [[3900]], 100_000)
    assert unknown_pieces(tokenizer, vocabulary.rows) == {unknown, *(set(range(4000)) - set(vocabulary.pieces))}
    assert 3900 not in unknown_pieces(tokenizer, vocabulary.rows)
    assert unknown_pieces(tokenizer, torch.arange(4000)) == {unknown}
