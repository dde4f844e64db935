"""What the jobs of a chaos run do: whole distillations of tiny random models, of some seconds each."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.workers.tiny import make_rows, save_encoder, save_llama, tiny_spec

Json = dict[str, Any]


class Workload:
    """Request bodies of jobs by number. `folder`: for the models, where every worker finds them."""

    def __init__(self, folder: Path) -> None:
        self._encoder, self._llama = save_encoder(folder / "encoder"), save_llama(folder / "llama")

    def name(self, number: int) -> str:
        return f"chaos-{_group(number) % 2}"

    def body(self, number: int, **overrides: Json) -> Json:
        """Jobs publish under two names, in turn by group, so that versions of one name meet.

        Every third job has all but the last stages in common with the one before it: their artefacts are the same, made by two at once.
        """
        group = _group(number)
        parts: dict[str, Json] = {
            "teacher": {"seed": group},
            "generator": {"seed": group},
            # Each of the two in some shards.
            "generate": {"seed": group, "texts": 60, "shard_tokens": 200, "batch_size": 8},
            "label": {"seed": group, "shard_tokens": 2000},
            "distil": {"seed": number, "epochs": 4, "min_steps": 40},
            "publish": {"seed": number},
        }
        for part, fields in overrides.items():
            parts[part] = {**parts.get(part, {}), **fields}
        rows = [asdict(row) for row in make_rows(30, seed=group % 2)]
        spec = tiny_spec(self._encoder, self._llama, **parts).model_dump(mode="json")
        return {"name": self.name(number), "dataset": {"rows": rows}, "spec": spec}


def _group(number: int) -> int:
    return number - 1 if number % 3 == 2 else number
