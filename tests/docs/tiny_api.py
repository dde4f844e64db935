"""`python -m tests.docs.tiny_api PORT MODELS`: the API, with presets that a job of tiny models fits into."""

import sys
from pathlib import Path
from typing import Any

import uvicorn

from app.contracts.presets import PRESETS, resolve_spec

# A teacher and a generator of two layers; what is not named here is as in `fast`.
TINY: dict[str, dict[str, Any]] = {
    "teacher": {"epochs": 6, "refit_epochs": 1, "learning_rate": 2e-3, "head_learning_rate": 1e-2, "precision": "fp32", "max_tokens": 48},
    "generator": {"epochs": 4, "learning_rate": 1e-2, "precision": "fp32", "method": "full", "max_tokens": 64},
    "generate": {"texts": 60, "batch_size": 64, "max_new_tokens": 32, "max_attempts": 4.0, "near_duplicate": 0.95},
    "label": {"recombined_tokens": 8_000},
    "distil": {"max_parameters": 200_000, "epochs": 4, "refit_epochs": 1, "min_steps": 100, "max_steps": 250, "learning_rate": 5e-3},
    "publish": {"bootstrap_samples": 200},
}


def install_presets(models: Path) -> None:
    """Every preset is the tiny one."""
    own = {"teacher": {"model": str(models / "encoder")}, "generator": {"model": str(models / "llama")}}
    tiny = resolve_spec("fast", {part: {**TINY.get(part, {}), **own.get(part, {})} for part in {*TINY, *own}})
    PRESETS.update(dict.fromkeys(PRESETS, tiny))


if __name__ == "__main__":
    install_presets(Path(sys.argv[2]))
    uvicorn.run("app.main:app", host="127.0.0.1", port=int(sys.argv[1]), log_config=None)
