"""Zips and what is in them: paths, bombs, pickles, networks and tokenizers that take more than they look."""

import base64
import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.storage import get_storage
from tests.hostile.archives import Files, bundle, changed, constant, outer_product, outside, with_more, zipped
from tests.hostile.attacks import ZIP, Attack, check, on, table
from tests.hostile.conftest import Service

Make = Callable[[Files], bytes]
IMPORT = on("POST /students/import", headers=ZIP)
SYMLINK = 0o120777 << 16


def refused(name: str, made: Make | bytes, says: str = "") -> Attack:
    """`made`: the archive, of a student's files."""
    return IMPORT(name, 422, "invalid-bundle", made, says=says)


def nested(files: Files) -> bytes:
    inner = bytes(1_000_000)
    for _ in range(5):
        inner = zipped([("inner.zip", inner)])
    return zipped([*bundle(files).items(), ("inner.zip", inner)])


def doubled(files: Files) -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return zipped([*bundle(files).items(), ("student.json", b"{}")])


def bomb(name: str, size: int) -> Make:
    return lambda files: zipped(list({**bundle(files), name: bytes(size)}.items()))


def lying(files: Files) -> bytes:
    """The directory says that 60 MB are one byte."""
    content = bytearray(zipped([*bundle(files).items(), ("report.json", bytes(60_000_000))]))
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (1).to_bytes(4, "little")
    return bytes(content)


def overlapping(files: Files) -> bytes:
    """Two entries of the directory are one and the same place, as in bombs without recursion (Fifield 2019)."""
    content = bytearray(zipped(list(bundle(files).items())))
    entries = [place for place in range(len(content)) if content[place : place + 4] == b"PK\x01\x02"]
    content[entries[1] + 42 : entries[1] + 46] = content[entries[0] + 42 : entries[0] + 46]
    return bytes(content)


def symlinks(files: Files) -> bytes:
    entries = []
    for name, data in bundle(files).items():
        entry = zipfile.ZipInfo(name)
        entry.external_attr = SYMLINK
        entries.append((entry, data))
    return zipped(list(entries))


def normalizing(*steps: dict[str, Any]) -> Make:
    return changed(tokenizer={"normalizer": {"type": "Sequence", "normalizers": list(steps)}})


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


CHARSMAP = base64.b64encode((8).to_bytes(4, "little") + bytes(8) + b"x" * 100_000).decode()
EXPANDING = {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}
SPLIT = {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}}
LONG_WORD = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 10**9,
    "vocab": {"[UNK]": 0},
}
LONG_PIECE = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 1, "a" * 100_000: 0}}


@table(
    *(
        refused(f"zip: an entry {what}", with_more(name), "does not belong")
        for what, name in {
            "with an absolute path": "/etc/cron.d/evil",
            "that leads upwards": "../../evil",
            "that leads upwards on Windows": "..\\..\\evil",
            "on a drive": "C:\\evil",
            "on a network share": "\\\\host\\share\\evil",
            "that is a folder": "student/",
            "in a folder": "student/student.onnx",
            "with a dot before": "./student.onnx",
            "in other letters": "STUDENT.ONNX",
            "that differs by a dotless i": "b\u0131ndle.json",
            "of a right-to-left name": "student\u202exnno.json",
            "without a name": "",
            "that is a device": "NUL",
            "that is another file's data": "student.onnx.data",
            "that is a pickle": "pytorch_model.bin",
            "that is code": "sitecustomize.py",
        }.items()
    ),
    refused("zip: an entry with a NUL in its name", with_more("student.onnx\0.py")),
    refused("zip: a symlink", with_more("link", b"/etc/passwd", external_attr=SYMLINK), "does not belong"),
    IMPORT("zip: files marked as symlinks are files", 201, None, symlinks),
    refused("zip: a name twice", doubled, "comes twice"),
    refused("zip: nested five deep", nested, "does not belong"),
    refused("zip: 60 MB of zeros in a card", bomb("README.md", 60_000_000), "GENDISTIL_LIMITS__MAX_UPLOAD_BYTES"),
    refused("zip: 60 MB of zeros as weights", bomb("student.onnx", 60_000_000), "GENDISTIL_LIMITS__MAX_UPLOAD_BYTES"),
    refused("zip: 6 MB of zeros as a report", bomb("report.json", 6_000_000), "the limit is 5,000,000"),
    refused("zip: a size that is a lie", lying, "damaged"),
    refused("zip: two entries in one place", overlapping, "damaged"),
    refused("zip: a hundred entries", lambda files: zipped([(f"{number}", b"") for number in range(100)]), "too many entries"),
    refused("zip: bzip2", lambda files: zipped(list(bundle(files).items()), zipfile.ZIP_BZIP2), "another method"),
    refused("zip: lzma", lambda files: zipped(list(bundle(files).items()), zipfile.ZIP_LZMA), "another method"),
    refused("zip: a comment behind it", lambda files: zipped(list(bundle(files).items())) + b"comment"),
    refused("zip: cut off", lambda files: zipped(list(bundle(files).items()))[:-30]),
    refused("zip: nothing but an end", b"PK\x05\x06" + bytes(18), "missing"),
    refused("zip: a gzip", b"\x1f\x8b" + bytes(1000)),
    refused("zip: a pickle", pickle.dumps({"weights": [1.0]})),
    refused("student: a pickle as weights", changed(onnx=pickle.dumps({"weights": [1.0]})), "student.onnx"),
    refused("student: weights from another file", changed(onnx=outside("/etc/passwd")), "external data"),
    refused("student: weights from a file upwards", changed(onnx=outside("../../gendistil.db")), "external data"),
    refused("student: a product of a terabyte", changed(onnx=outer_product(500_000)), "does not run"),
    refused("student: a tensor of a terabyte", changed(onnx=constant(2**38)), "does not run"),
    refused("student: a tensor of four gigabytes", changed(onnx=constant(2**30)), "does not run"),
    refused("student: a tensor beyond 64 bits of bytes", changed(onnx=constant(2**62))),
    refused("student: labels turned round", changed(manifest={"labels": ["card", "mo\u202eney", "pin"]}), "control character"),
    refused("student: a label of two lines", changed(manifest={"labels": ["a", "b\nERROR root: lost", "c"]}), "control character"),
    refused("student: half a surrogate pair as a label", changed(manifest={"labels": ["card", "\ud800", "pin"]})),
    refused("student: a kind that is a path", changed(manifest={"kind": "../../kind"}), "kind of student"),
    refused("student: texts of 10^9 pieces", changed(manifest={"max_tokens": 10**9}), "out of range"),
    refused("student: padding beyond 64 bits", changed(manifest={"pad_id": 2**70})),
    refused("student: a score that is 1e400", changed(manifest={"metrics": {"accuracy": 1e400}}), "not finite"),
    refused("student: a lineage nested 10^4 deep", lambda files: changed(manifest=b'{"lineage":' + b'{"a":' * 10_000)(files)),
    refused("tokenizer: a pickle", changed(tokenizer=pickle.dumps({}))),
    refused("tokenizer: nested 10^5 deep", changed(tokenizer=b'{"normalizer":' * 100_000)),
    refused("tokenizer: a regular expression that never ends", changed(tokenizer=SPLIT), "regular expression"),
    refused("tokenizer: doubles a character forty times", normalizing(*[replacing({"String": "a"}, "aa")] * 40), "again and again"),
    refused("tokenizer: writes a megabyte for a character", normalizing(replacing({"String": "a"}, "x" * 1_000_000)), "by a long one"),
    refused("tokenizer: a regular expression that replaces", normalizing(replacing({"Regex": "(a|a)*$"}, "b")), "regular expression"),
    refused("tokenizer: puts a megabyte before each text", normalizing({"type": "Prepend", "prepend": "x" * 1_000_000}), "a long text"),
    refused("tokenizer: a normalisation that writes 100 kB", normalizing(EXPANDING), "one character"),
    refused("tokenizer: words of 10^9 characters", changed(tokenizer={"model": LONG_WORD}), "words of more"),
    refused("tokenizer: a piece of 10^5 characters", changed(tokenizer={"model": LONG_PIECE}), "a piece has more"),
    IMPORT("import: a name that is a path", 422, "invalid-request", lambda files: b"", params={"name": "../evil"}),
    IMPORT("import: a name with a NUL", 422, "invalid-request", lambda files: b"", params={"name": "a\0b"}),
)
def test_archives(service: Service, student_files: Files, attack: Attack) -> None:
    made = attack.sent["content"]
    content = made(student_files) if callable(made) else made
    before = sorted(get_storage().artefact_keys())
    check(service.api, replace(attack, sent={**attack.sent, "content": content}), service.known)
    if attack.status != 201:
        assert sorted(get_storage().artefact_keys()) == before  # what is refused leaves nothing behind


def test_the_student_itself_is_taken(service: Service, student_files: Files) -> None:
    """Else all the rows above could be refused for what they have in common."""
    content = zipped(list(bundle(student_files).items()))
    assert service.api.post("/students/import", content=content, headers=ZIP).status_code == 201
    with zipfile.ZipFile(io.BytesIO(service.api.get("/students/hostile/download").content)) as archive:
        assert {name: archive.read(name) for name in student_files} == student_files
