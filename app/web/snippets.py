"""Ready-made code that asks a student, with its real name and the service's address."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

TEXT = "a text of yours"


@dataclass(frozen=True)
class Snippet:
    id: str
    title: str
    needs: str
    text: str


def snippets(base_url: str, name: str, version: int) -> Sequence[Snippet]:
    """`base_url`: without a slash at its end. `version`: the one that a plain download gives."""
    body = f'{{"student": "{name}",\n  "inputs": ["{TEXT}"], "top_k": 3}}'
    client = f"""from gendistil import Client

with Client("{base_url}") as client:
    answer = client.predict("{name}", ["{TEXT}"])
for found in answer.predictions:
    print(found.label, found.score)
"""
    hub = f"""from huggingface_hub import InferenceClient

url = "{base_url}/hf/{name}"
client = InferenceClient(model=url)
print(client.text_classification("{TEXT}", top_k=3))
"""
    archive = f"""curl -OJ {shlex.quote(f"{base_url}/students/{name}/download")}
python -m zipfile -e {name}-{version}.zip {name}
pip install numpy onnxruntime tokenizers
python {name}/predict.py "{TEXT}"
"""
    return [
        Snippet(
            "curl", "curl", "Any HTTP client will do.", f"curl {shlex.quote(f'{base_url}/predict')} \\\n  --json {shlex.quote(body)}\n"
        ),
        Snippet("client", "Python", "In a checkout of the service: pip install . (or make install, and .venv/bin/python).", client),
        Snippet("hub", "Hugging Face client", "pip install huggingface_hub", hub),
        Snippet("zip", "Without this service", "The zip runs anywhere, with three packages.", archive),
    ]
