"""Runs peers in their own environment, and gives them the encoder in the layout that they read."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.contracts.rows import Row
from benchmarks.peers.protocol import PeerOptions, PeerRequest, read_answers
from benchmarks.quality.outcome import Outcome
from workers.models import resolve_model

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
_GROUPED = ("setfit", "setfit_distilled")
_MODULES = ("Transformer", "Pooling", "Normalize")


class PeerFailed(Exception):
    """A peer did not come to an end, or its environment is not there. The message holds the end of what it said."""


def grouped(methods: list[str]) -> list[list[str]]:
    """Methods that share a training go into one process, the others each into one of their own."""
    together = [method for method in methods if method in _GROUPED]
    return [[method] for method in methods if method not in _GROUPED] + ([together] if together else [])


def run_peers(
    methods: list[str], seed_rows: list[Row], test: list[Row], seed: int, encoder: Path, options: PeerOptions, python: Path
) -> dict[str, Outcome]:
    """Trains on the seed rows and answers the test texts, whose labels stay here. Raises `PeerFailed`."""
    if not python.is_file():
        raise PeerFailed(f"{python} is not there: `make bench-quality` installs the peers, or leave them out with --methods ours.")
    with tempfile.TemporaryDirectory() as scratch:
        request, answers = Path(scratch) / "request.json", Path(scratch) / "answers.json"
        PeerRequest(
            methods=methods,
            texts=[row.text for row in seed_rows],
            labels=[row.label for row in seed_rows],
            test=[row.text for row in test],
            encoder=str(encoder),
            seed=seed,
            scratch=scratch,
            options=options,
        ).write(request)
        command = [str(python), "-m", "benchmarks.peers", str(request), str(answers)]
        # Tokenizers that were forked in a process with threads would only warn of it, at length.
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": os.environ.get("TOKENIZERS_PARALLELISM", "true")}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise PeerFailed(f"{', '.join(methods)} ended with {run.returncode}:\n{run.stderr[-2000:]}")
        found = read_answers(answers)
    return {
        name: Outcome(answer.answers, answer.parameters, answer.bytes, answer.train_seconds, answer.texts_per_second, answer.notes)
        for name, answer in found.items()
    }


def sentence_encoder(reference: str, models: Path) -> tuple[Path, str]:
    """The folder of a model reference in the layout of sentence-transformers (mean pooling, length 1), and its fingerprint."""
    model = resolve_model(reference, models)
    target = models / f"sentence-{hashlib.sha256(model.fingerprint.encode()).hexdigest()[:12]}"
    if not target.is_dir():
        partial = Path(tempfile.mkdtemp(dir=models))
        shutil.copytree(model.path, partial, dirs_exist_ok=True)
        hidden = json.loads((partial / "config.json").read_text(encoding="utf-8"))["hidden_size"]
        modules = [
            {"idx": place, "name": str(place), "path": f"{place}_{name}" if place else "", "type": f"sentence_transformers.models.{name}"}
            for place, name in enumerate(_MODULES)
        ]
        (partial / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        for module in modules[1:]:
            (partial / str(module["path"])).mkdir(exist_ok=True)
        pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True}
        (partial / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(target)
    return target, model.fingerprint
