"""The classifiers of the report, each scored on the same texts in the same way."""

import pickle
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer
from torch import Tensor

from app.contracts.spec import TablePrecision, TeacherSpec
from app.contracts.students import ONNX_INPUT, ONNX_OUTPUT, TOKENIZER_FILE
from workers.students.base import parameter_count
from workers.training.batching import pad
from workers.training.checkpoints import StudentShape, load_student
from workers.training.devices import pick_device
from workers.training.distillation import student_ids, student_logits
from workers.training.encoder import attention_mask, encode, load_teacher, predict_logits
from workers.training.onnx_export import onnx_logits
from workers.training.precision import export_student
from workers.training.split import Lineage, Split

_TIMED_TEXTS = 50


@dataclass(frozen=True)
class Candidate:
    """`logits` (N, C) over the holdout. `bytes` on disk. `latency_ms`: median for one text, from string to answer."""

    name: str
    description: str
    logits: Tensor
    parameters: int
    bytes: int
    latency_ms: float


def teacher_candidate(folder: Path, spec: TeacherSpec, texts: list[str], check: Callable[[], None], shrink: int = 1) -> Candidate:
    device = pick_device()
    teacher, tokenizer = load_teacher(folder)
    teacher.to(device)
    pad_id = int(tokenizer.pad_token_id or 0)

    def answer(text: str) -> None:
        rows = encode(tokenizer, [text], spec.max_tokens)
        ids = pad(rows, pad_id).to(device)
        with torch.inference_mode():
            teacher(ids, attention_mask(rows, ids)).argmax().item()

    ids = encode(tokenizer, texts, spec.max_tokens)
    logits = predict_logits(teacher, ids, pad_id, max(1, 64 // shrink), device, spec.precision, lambda _done: check())
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Candidate("teacher", "The finetuned encoder.", logits, parameter_count(teacher), size, _latency(answer, texts))


def student_candidate(
    folder: Path, run: str, description: str, texts: list[str], onnx: Path, precision: TablePrecision = "fp16"
) -> tuple[Candidate, Tensor, StudentShape]:
    """Exports `run` to `onnx` and scores it with onnxruntime. Returns torch's logits (N, C) too, for the proof of parity."""
    student, shape = load_student(folder, run)
    export_student(student, onnx, precision)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    ids = student_ids(tokenizer, texts, shape.max_tokens, shape.pad_id)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def answer(text: str) -> None:
        row = student_ids(tokenizer, [text], shape.max_tokens, shape.pad_id)
        session.run([ONNX_OUTPUT], {ONNX_INPUT: pad(row, shape.pad_id).numpy()})[0].argmax()

    size = onnx.stat().st_size + (folder / TOKENIZER_FILE).stat().st_size
    logits = onnx_logits(onnx, ids, shape.pad_id)
    candidate = Candidate(run, description, logits, parameter_count(student), size, _latency(answer, texts))
    return candidate, student_logits(student, ids, shape.pad_id), shape


def run_logits(folder: Path, run: str, texts: list[str]) -> Tensor:
    """(N, C) of one student of the stage `distil`."""
    student, shape = load_student(folder, run)
    ids = student_ids(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), texts, shape.max_tokens, shape.pad_id)
    return student_logits(student, ids, shape.pad_id)


def both_logits(folder: Path, run: str, texts: list[str], onnx: Path) -> tuple[Tensor, Tensor]:
    """(N, C) each, from torch and from the file."""
    student, shape = load_student(folder, run)
    ids = student_ids(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), texts, shape.max_tokens, shape.pad_id)
    return student_logits(student, ids, shape.pad_id), onnx_logits(onnx, ids, shape.pad_id)


def tfidf_candidate(split: Split, texts: list[str]) -> Candidate:
    """Word uni- and bigrams with logistic regression, on the seed rows; it needs no validation part, so it learns from that too."""
    rows = split.seed_rows(Lineage.MEASURED)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    )
    model.fit([row.text for row in rows], split.targets(rows))
    logits = torch.from_numpy(model.predict_log_proba(texts))
    parameters = int(model[-1].coef_.size + model[-1].intercept_.size)
    latency = _latency(lambda text: model.predict([text]), texts)
    return Candidate(
        "tfidf", "TF-IDF of word uni- and bigrams, logistic regression.", logits, parameters, len(pickle.dumps(model)), latency
    )


def _latency(answer: Callable[[str], object], texts: list[str]) -> float:
    """Median milliseconds for one text, after a few to warm up."""
    sample = texts[:_TIMED_TEXTS]
    for text in sample[:5]:
        answer(text)
    times = []
    for text in sample:
        start = time.perf_counter()
        answer(text)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
