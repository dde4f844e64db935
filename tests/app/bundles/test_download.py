"""A student leaves as a zip, and says elsewhere what it says here."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.contracts.spec import StudentKind
from app.contracts.students import ONNX_FILE, STUDENT_MANIFEST_FILE
from app.storage import get_storage
from tests.app.bundles.conftest import LABELS, Publish, example_texts
from tests.app.calls import refused

FILES = {"README.md", "predict.py", "bundle.json", "student.onnx", "tokenizer.json", "student.json", "report.json"}

# Runs predict.py where nothing can be imported but the standard library and three packages, nor anything beside it.
ALONE = """
import runpy, sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "numpy", "onnxruntime", "tokenizers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Only())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def unpacked(client: TestClient, folder: Path, student: str = "triage") -> Path:
    answer = client.get(f"/students/{student}/download")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder


def alone(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", ALONE, str(folder / "predict.py"), *arguments]
    return subprocess.run(command, input=given, capture_output=True, encoding="utf-8", timeout=120, check=False)


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", ["bag", "cnn", "bilstm"])
def test_it_scores_alone_as_it_does_served(client: TestClient, publish: Publish, tmp_path: Path, kind: StudentKind) -> None:
    """To the last bit: both make the same batches of the same texts."""
    publish(kind=kind)
    folder = unpacked(client, tmp_path / "away")
    texts = example_texts()
    assert len(texts) == 400
    served = client.post("/predict", json={"student": "triage", "inputs": texts, "top_k": 3}).json()["predictions"]
    found = answers(alone(folder, "--top-k", "3", given="\n".join(texts)))
    assert [row["text"] for row in found] == texts
    for mine, theirs in zip(found, served, strict=True):
        assert (mine["label"], mine["score"], mine["scores"]) == (theirs["label"], theirs["score"], theirs["scores"])
    for text in (texts[0], max(texts, key=len), "ünknown 中文 \u200b"):
        (theirs,) = client.post("/predict", json={"student": "triage", "inputs": text}).json()["predictions"]
        (mine,) = answers(alone(folder, text))
        assert (mine["label"], mine["score"]) == (theirs["label"], theirs["score"])


def test_it_can_be_imported(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish()
    folder = unpacked(client, tmp_path / "away")
    program = "from predict import Student; print(Student('.').predict(['my card', ''])); print(Student('.').predict([]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.count("'scores'") == 2
    assert second == "[]"


def test_no_texts_and_a_wrong_option(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish()
    folder = unpacked(client, tmp_path / "away")
    assert answers(alone(folder, given="")) == []
    wrong = alone(folder, "--top-k", "0", "text")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "at least 1" in wrong.stderr


def test_what_is_in_it(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish()
    folder = unpacked(client, tmp_path / "away")
    assert {path.name for path in folder.iterdir()} == FILES
    info = json.loads((folder / "bundle.json").read_text())
    assert (info["name"], info["version"]) == ("triage", 1)
    assert info["data"]["label_counts"] == dict.fromkeys(LABELS, 100)
    assert set(info["files"]) == {"student.onnx", "tokenizer.json", "student.json", "report.json"}


def test_the_model_card(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish()
    card = (unpacked(client, tmp_path / "away") / "README.md").read_text()
    for part in (
        "# triage:1",
        "pipeline_tag: text-classification",
        r"| exchange \| rate | 100 | 88.0 % |",
        "| teacher | 91.0 % (87.0 to 94.0) |",
        "300 labelled rows",
        "1,000 texts generated, of which 900",
        "- Near a row, and dropped: 3 exact copies, 4 near copies, 9 with a run of more than 5 words.",
        "- Of 900 kept texts, 0 have 8 or more consecutive words in common with a row; the longest such run in any has 5.",
        "softmax(logits / 1.7)",
        "The holdout is small (80 rows)",
        "few rows of 'pin\\_change'",
        "all-MiniLM-L6-v2, a sentence encoder for English. Licence: Apache-2.0.",
        "some/causal-lm. See its own licence.",
        "d" * 64,
    ):
        assert part in card


def test_versions_and_aliases(client: TestClient, publish: Publish, tmp_path: Path) -> None:
    publish(kind="bag")
    publish(kind="cnn")
    client.put("/students/triage/aliases/champion", json={"version": 1})
    kinds = {}
    for number, student in enumerate(("triage", "triage:1", "triage@champion")):
        folder = unpacked(client, tmp_path / str(number), student)
        kinds[student] = json.loads((folder / STUDENT_MANIFEST_FILE).read_text())["kind"]
    assert kinds == {"triage": "cnn", "triage:1": "bag", "triage@champion": "bag"}
    assert 'filename="triage-1.zip"' in client.get("/students/triage@champion/download").headers["content-disposition"]


def test_the_bytes_are_the_same_each_time_and_known_by_their_tag(client: TestClient, publish: Publish) -> None:
    publish()
    first, second = (client.get("/students/triage/download") for _ in range(2))
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    known = client.get("/students/triage/download", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (known.status_code, known.content) == (304, b"")
    publish()
    assert client.get("/students/triage/download").headers["etag"] != first.headers["etag"]
    assert client.get("/students/triage/download", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("student", "status", "type"),
    [("nobody", 404, "student-not-found"), ("triage:9", 404, "student-not-found"), ("triage:x", 422, "invalid-request")],
)
def test_an_unknown_student(client: TestClient, publish: Publish, student: str, status: int, type: str) -> None:
    publish()
    refused(client.get(f"/students/{student}/download"), status, type)


def test_damaged_files_are_not_sent(client: TestClient, publish: Publish) -> None:
    publish()
    onnx = get_storage().fetch("key-1") / ONNX_FILE
    onnx.write_bytes(onnx.read_bytes()[:-1])
    assert "job's dataset" in refused(client.get("/students/triage/download"), 503, "student-broken")["remedy"]
