"""Answers and speed of a teacher and of a student, the student as it is served: ONNX, its tokenizer, nothing else."""

from pathlib import Path

from tokenizers import Tokenizer

from app.contracts.spec import TeacherSpec
from app.contracts.students import TOKENIZER_FILE, StudentManifest
from app.predictions.runtime import StudentRuntime, open_session
from app.predictions.tokenization import PieceEncoder
from benchmarks.peers.protocol import timed_answers
from benchmarks.quality.outcome import Outcome
from workers.students.base import parameter_count
from workers.training.candidates import student_candidate
from workers.training.devices import pick_device
from workers.training.encoder import encode, load_teacher, predict_logits


def score_teacher(folder: Path, spec: TeacherSpec, labels: list[str], texts: list[str]) -> Outcome:
    """`labels` in the order of the logits."""
    device = pick_device()
    teacher, tokenizer = load_teacher(folder)
    teacher.to(device)
    pad_id = int(tokenizer.pad_token_id or 0)

    def predict(batch: list[str]) -> list[str]:
        ids = encode(tokenizer, batch, spec.max_tokens)
        return [labels[index] for index in predict_logits(teacher, ids, pad_id, 64, device, spec.precision).argmax(-1).tolist()]

    answers, rate = timed_answers(predict, texts)
    size = sum(file.stat().st_size for file in (*folder.glob("*.safetensors"), folder / TOKENIZER_FILE))
    return Outcome(answers, parameter_count(teacher), size, None, rate)


def score_student(folder: Path, run: str, labels: list[str], texts: list[str], work: Path) -> Outcome:
    """Exports `run` of a distillation and answers with the runtime of the API."""
    onnx = work / f"{folder.name}-{run}.onnx"
    candidate, _logits, shape = student_candidate(folder, run, run, texts[:64], onnx)
    manifest = StudentManifest(
        kind=shape.kind,
        labels=labels,
        max_tokens=shape.max_tokens,
        pad_id=shape.pad_id,
        parameters=candidate.parameters,
        bytes=candidate.bytes,
        parity={},
        metrics={},
        lineage={},
    )
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    runtime = StudentRuntime(manifest, PieceEncoder(tokenizer), open_session(onnx), candidate.bytes)
    answers, rate = timed_answers(lambda batch: [labels[index] for index in runtime.probabilities(batch).argmax(-1).tolist()], texts)
    onnx.unlink()
    return Outcome(answers, candidate.parameters, candidate.bytes, None, rate)
