"""A bundle comes back: into the same service or another one, and only if it is what it says."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from starlette.testclient import TestClient
from tokenizers import Tokenizer

from app.bundles import reading
from app.bundles.importing import import_student
from app.config import Limits
from app.contracts.comparison import Promote
from app.errors import ServiceError
from app.storage import BlobStore, get_storage
from tests.app.bundles.conftest import LABELS, Publish, example_texts, write_student
from tests.app.calls import refused

Files = dict[str, bytes]
Change = Callable[[Files], object]


def zipped(files: Files, **options: Any) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def with_hashes(files: Files) -> Files:
    """The files, and a bundle.json that names them as they are."""
    info = {"name": "triage", "version": 4, "published_at": "2026-01-31T12:00:00Z", "data": None}
    entries = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    return {**files, "bundle.json": json.dumps({**info, "files": entries}).encode()}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("made") / "student"
    write_student(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def upload(client: TestClient, content: bytes, **query: Any) -> Any:
    return client.post("/students/import", content=content, params=query, headers={"content-type": "application/zip"})


def test_it_comes_back_as_it_left(client: TestClient, publish: Publish) -> None:
    publish()
    left = client.get("/students/triage/download").content
    answer = upload(client, left, name="away")
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert (version["name"], version["version"], version["job_id"], version["labels"]) == ("away", 1, None, LABELS)
    assert answer.headers["location"] == "/students/away"
    texts = example_texts()
    here, there = (client.post("/predict", json={"student": name, "inputs": texts}).json() for name in ("triage", "away"))
    assert here["predictions"] == there["predictions"]
    assert client.get("/students/away").json()["aliases"] == {"latest": 1}

    with zipfile.ZipFile(io.BytesIO(client.get("/students/away/download").content)) as again:
        assert "300 labelled rows" in again.read("README.md").decode()  # what only the first service's database knew
        with zipfile.ZipFile(io.BytesIO(left)) as first:
            for name in ("student.onnx", "tokenizer.json", "student.json", "report.json", "predict.py"):
                assert again.read(name) == first.read(name)


def test_latest_moves_only_if_asked(client: TestClient, publish: Publish) -> None:
    publish()
    publish()
    content = client.get("/students/triage:1/download").content
    first = upload(client, content).json()
    assert (first["name"], first["version"], first["promotion"]["moved"]) == ("triage", 3, False)
    assert client.get("/students/triage").json()["aliases"] == {"latest": 2}
    second = upload(client, content, promote=True).json()
    assert (second["version"], second["promotion"]["moved"]) == (4, True)
    assert "first published as triage:1" in second["promotion"]["reason"]
    assert client.get("/students/triage").json()["aliases"] == {"latest": 4}
    assert client.post("/predict", json={"student": "triage", "inputs": "my card"}).json()["version"] == 4
    # Both have the same files: one of them may go.
    assert client.delete("/students/triage/versions/3").status_code == 204
    assert client.get("/students/triage/download").status_code == 200


def test_requests_that_are_refused(client: TestClient, student: Files) -> None:
    content = zipped(with_hashes(student))
    refused(upload(client, content, name="No Name"), 422, "invalid-request")
    refused(client.post("/students/import", files={"file": ("student.zip", content)}), 415, "unsupported-format")
    assert "no zip" in refused(upload(client, b""), 422, "invalid-bundle")["detail"]
    assert client.get("/students").json()["items"] == []
    assert list(get_storage().artefact_keys()) == []


def of_manifest(**changes: Any) -> Change:
    return lambda files: files.update({"student.json": json.dumps({**json.loads(files["student.json"]), **changes}).encode()})


def without(name: str) -> Change:
    return lambda files: files.pop(name)


def of_file(name: str, data: bytes) -> Change:
    return lambda files: files.update({name: data})


def more_pieces(files: Files) -> None:
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    tokenizer.add_tokens(["entirelynew"])
    files["tokenizer.json"] = tokenizer.to_str().encode()


def other_input(files: Files) -> None:
    model = onnx.load_from_string(files["student.onnx"])
    for node in model.graph.node:
        node.input[:] = ["ids" if name == "input_ids" else name for name in node.input]
    model.graph.input[0].name = "ids"
    files["student.onnx"] = model.SerializeToString()


def custom_operator(files: Files) -> None:
    model = onnx.load_from_string(files["student.onnx"])
    model.graph.node[0].domain = "com.example"
    files["student.onnx"] = model.SerializeToString()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without("student.onnx"), "student.onnx is missing"),
        (of_file("student.onnx", b"this is no ONNX file"), "student.onnx: it is no protocol buffer"),
        (of_file("student.onnx", b""), "does not run"),
        (custom_operator, "not one of ONNX's own"),
        (other_input, "does not run"),
        (of_file("tokenizer.json", b"{}"), "does not run"),
        (more_pieces, "out of data bounds"),
        (of_file("student.json", b"{"), "student.json"),
        (of_manifest(labels=LABELS[:2]), "does not run"),
        (of_manifest(labels=["a", "a", "b"]), "one twice"),
        (of_manifest(labels=["a", "b", " "]), "a label is empty"),
        (of_manifest(labels=["a", "b", "c" * 500]), "GENDISTIL_LIMITS__MAX_LABEL_CHARS"),
        (of_manifest(labels=[]), "0 labels"),
        (of_manifest(kind="../bag"), "kind of student"),
        (of_manifest(max_tokens=0), "out of range"),
        (of_manifest(pad_id=10**6), "out of data bounds"),
        (of_manifest(temperature=0), "temperature"),
        (of_manifest(metrics={"accuracy": float("nan")}), "not finite"),
        (of_manifest(lineage={"a": [1e999]}), "not finite"),
        (of_file("report.json", b"{}"), "report.json"),
    ],
)
def test_students_that_are_not_what_they_say(student: Files, tmp_path: Path, change: Change, fault: str) -> None:
    files = dict(student)
    change(files)
    store = BlobStore(f"file://{tmp_path / 'blobs'}", tmp_path / "cache")
    with pytest.raises(ServiceError) as caught:
        import_student(zipped(with_hashes(files)), None, Promote.NEVER, Limits(), store)
    assert (caught.value.problem.status, caught.value.problem.type) == (422, "urn:gendistil:invalid-bundle")
    assert fault in caught.value.problem.detail
    assert list(store.artefact_keys()) == []


def fault_of(content: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ServiceError) as caught:
        reading.read_bundle(content, limits or Limits())
    assert caught.value.problem.status == 422
    return caught.value.problem.detail


def beyond_any_file(files: Files) -> bytes:
    """The directory says of the first entry that it starts at the last byte that zip64 can name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
            archive.writestr(entry, data)
    changed = bytearray(content.getvalue())
    place = changed.rindex(b"PK\x05\x06") + 16
    offset = struct.unpack("<I", changed[place : place + 4])[0] + 42
    changed[offset : offset + 4] = b"\xff" * 4
    return bytes(changed)


def test_archives_that_are_not_read(student: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_hashes(student)
    good = zipped(whole)
    assert reading.read_bundle(good, Limits()).info.version == 4
    assert "no zip" in fault_of(b"")
    assert "no zip" in fault_of(good[:-1])
    assert "no zip" in fault_of(b"x" * 100)
    assert "damaged" in fault_of(good[5000:])
    assert "damaged" in fault_of(good.replace(student["student.onnx"][:50], b"y" * 50))
    assert "damaged" in fault_of(beyond_any_file(whole))
    for name in ("../evil", "/etc/passwd", "folder/student.onnx", "student.onnx.data", "__MACOSX/x"):
        assert "does not belong" in fault_of(zipped({**whole, name: b""}))
    assert "another method" in fault_of(zipped(whole, compression=zipfile.ZIP_BZIP2))
    assert "too many entries" in fault_of(zipped({str(number): b"" for number in range(100)}))
    bomb = zipped({**whole, "README.md": bytes(60_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 500_000
    assert "GENDISTIL_LIMITS__MAX_UPLOAD_BYTES" in fault_of(bomb)
    monkeypatch.setattr(reading, "_MAX_JSON", 10)
    assert "the limit is 10" in fault_of(good)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice(student: Files) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in [*with_hashes(student).items(), ("student.json", b"{}")]:
            archive.writestr(name, data)
    assert "comes twice" in fault_of(content.getvalue())


def test_files_must_match_their_hashes(student: Files) -> None:
    whole = with_hashes(student)
    assert "tokenizer.json does not match" in fault_of(zipped({**whole, "tokenizer.json": b"{}"}))
    unnamed = {**with_hashes({name: data for name, data in student.items() if name != "report.json"}), "report.json": b"{}"}
    assert "report.json does not match" in fault_of(zipped(unnamed))
    later = json.loads(whole["bundle.json"]) | {"format": 2}
    assert "format" in fault_of(zipped({**whole, "bundle.json": json.dumps(later).encode()}))
