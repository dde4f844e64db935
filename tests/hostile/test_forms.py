"""Multipart forms by hand: bombs of parts and headers, tricks with boundaries and charsets, and bodies that are compressed."""

import gzip
import json
import zlib

from tests.hostile.attacks import CSV, JSON, ROWS, Attack, check, on, table
from tests.hostile.conftest import Service

CSV_ROWS = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
FORM = {"content-type": "multipart/form-data; boundary=x"}
DATASET, JOB, FILE = on("POST /datasets", headers=FORM), on("POST /jobs", headers=FORM), on("POST /v1/files", headers=FORM)
BULK, IMPORT = on("POST /predictions", headers=FORM), on("POST /students/import")
PLAIN, PREDICT = on("POST /datasets"), on("POST /predict")
FILE_PART = f'Content-Disposition: form-data; name="file"; filename="rows.csv"\r\n\r\n{CSV_ROWS}'
BOMB = gzip.compress(bytes(100_000_000), 9)


def form(*parts: str, end: str = "--x--\r\n") -> bytes:
    """Each part with its headers, and between two boundaries."""
    return ("".join(f"--x\r\n{part}\r\n" for part in parts) + end).encode("utf-8", "surrogateescape")


def field(name: str, value: str = "v") -> str:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'


def with_type(parameters: str) -> dict[str, dict[str, str]]:
    return {"headers": {"content-type": f"multipart/form-data; {parameters}"}}


def encoded(name: str) -> dict[str, dict[str, str]]:
    return {"headers": {**JSON, "content-encoding": name}}


@table(
    DATASET("form: the file itself, so that the rows below have a measure", 201, None, form(FILE_PART)),
    DATASET("form: 10^4 fields", 400, "malformed-multipart", form(*[field(f"f{number}") for number in range(10_000)])),
    DATASET("form: 10^4 files", 400, "malformed-multipart", form(*[FILE_PART] * 10_000)),
    DATASET("form: 10^5 fields of one name", 400, "malformed-multipart", form(*[field("a")] * 100_000)),
    DATASET("form: a field twice", 422, "invalid-request", form(FILE_PART, field("text_column", "a"), field("text_column", "b"))),
    DATASET("form: a file twice", 422, "invalid-request", form(FILE_PART, FILE_PART)),
    DATASET("form: a header of a megabyte", 400, "malformed-multipart", form(f"X: {'a' * 1_000_000}\r\n{FILE_PART}")),
    DATASET("form: 10^4 headers of a part", 400, "malformed-multipart", form("X: a\r\n" * 10_000 + FILE_PART)),
    DATASET("form: a file name of 10^5 letters", 400, "malformed-multipart", form(FILE_PART.replace("rows.csv", "a" * 100_000))),
    DATASET("form: a file name that is a path is no path", 201, None, form(FILE_PART.replace("rows.csv", "../../../../tmp/evil.csv"))),
    DATASET("form: a file name with a NUL is not looked at", 201, None, form(FILE_PART.replace("rows.csv", "a\0.csv"))),
    DATASET("form: a name of 10^3 letters", 422, "invalid-request", form(FILE_PART, field("a" * 1000))),
    DATASET("form: a name with an override", 422, "invalid-request", form(FILE_PART, field("a\u202eb"))),
    DATASET("form: a name that is none", 400, "malformed-multipart", form("Content-Disposition: form-data\r\n\r\nx")),
    DATASET("form: a part without headers", 400, "malformed-multipart", form("\r\nx")),
    DATASET("form: no closing boundary", 400, "malformed-multipart", form(FILE_PART, end="")),
    DATASET("form: half a closing boundary", 400, "malformed-multipart", form(FILE_PART, end="--x-")),
    DATASET("form: nothing at all", 400, "malformed-multipart", b""),
    DATASET("form: only a closing boundary", 422, "invalid-request", b"--x--\r\n"),
    DATASET("form: a megabyte of dashes", 400, "malformed-multipart", b"-" * 1_000_000),
    DATASET("form: a megabyte of line ends", 400, "malformed-multipart", b"\r\n" * 500_000),
    DATASET("form: a file of half boundaries", 422, "missing-columns", form(FILE_PART.replace(CSV_ROWS, "\r\n--" * 200_000))),
    DATASET("form: what follows the end is not read", 201, None, form(FILE_PART) + b"--x\r\n" * 1000),
    DATASET(
        "form: a file that is a form",
        422,
        "missing-columns",
        form(FILE_PART.replace(CSV_ROWS, form(FILE_PART).decode().replace("--x", "--y"))),
    ),
    DATASET("form: a transfer encoding is not undone", 201, None, form(f"Content-Transfer-Encoding: base64\r\n{FILE_PART}")),
    PLAIN("form: no boundary", 400, "malformed-multipart", form(FILE_PART), **with_type("a=b")),
    PLAIN("form: an empty boundary", 400, "malformed-multipart", form(FILE_PART), **with_type("boundary=")),
    PLAIN("form: a boundary of 10^5 letters", 400, "malformed-multipart", form(FILE_PART), **with_type(f"boundary={'x' * 100_000}")),
    PLAIN("form: two boundaries, the last one counts", 201, None, form(FILE_PART), **with_type("boundary=y; boundary=x")),
    *(
        PLAIN(f"form: the charset {charset}", 400, "malformed-multipart", form(FILE_PART), **with_type(f"boundary=x; charset={charset}"))
        for charset in ("punycode", "idna", "utf-7", "utf-16", "unicode_escape", "zlib", "rot13", "base64", "undefined", "a" * 10_000)
    ),
    PLAIN("form: the charset utf-8", 201, None, form(FILE_PART), **with_type("boundary=x; charset=UTF-8")),
    JOB("form: a job without a file", 422, "invalid-request", form(field("name", "odd"))),
    JOB("form: a job with a dataset and a file", 422, "invalid-request", form(FILE_PART, field("name", "odd"), field("dataset", "ds_1"))),
    JOB("form: a job's spec that is a list", 422, "invalid-request", form(FILE_PART, field("name", "odd"), field("spec", "[]"))),
    JOB(
        "form: a job's spec of a megabyte of brackets",
        400,
        "malformed-json",
        form(FILE_PART, field("name", "odd"), field("spec", "[" * 1_000_000)),
    ),
    JOB("form: a job's name with an override", 422, "invalid-request", form(FILE_PART, field("name", "o\u202edd"))),
    FILE("form: a file for another purpose", 400, "invalid_value", form(FILE_PART, field("purpose", "../../etc"))),
    FILE(
        "form: a file that expires",
        400,
        "invalid_value",
        form(FILE_PART, field("purpose", "fine-tune"), field("expires_after[anchor]", "x")),
    ),
    FILE("form: a purpose of a megabyte", 400, "malformed_multipart", form(FILE_PART, field("purpose", "a" * 1_000_000))),
    BULK("form: a bulk file without a student", 422, "invalid-request", form(FILE_PART)),
    BULK("form: a bulk file and an unknown field", 422, "invalid-request", form(FILE_PART, field("student", "triage"), field("evil"))),
    BULK("form: a bulk file's field of a megabyte", 400, "malformed-multipart", form(FILE_PART, field("student", "a" * 1_000_000))),
    PLAIN("form: urlencoded", 415, "unsupported-format", "a=b&" * 100_000, headers={"content-type": "application/x-www-form-urlencoded"}),
    IMPORT("form: a zip in a form", 415, "unsupported-format", form(FILE_PART), headers=FORM),
    PLAIN("compressed: a gzip bomb as JSON", 400, "not-utf8", BOMB, **encoded("gzip")),
    PLAIN("compressed: a gzip bomb as CSV", 415, "unsupported-format", BOMB, headers=CSV),
    PLAIN("compressed: a deflate bomb as JSON", 400, "not-utf8", zlib.compress(bytes(10_000_000), 9), **encoded("deflate")),
    PLAIN("compressed: brotli that is none", 400, "malformed-json", b"{", **encoded("br")),
    PLAIN("compressed: said, and not so, is read", 201, None, json.dumps(ROWS), **encoded("gzip, gzip, gzip")),
    PREDICT("compressed: a gzip bomb of texts", 400, "not-utf8", BOMB, **encoded("gzip")),
    on("POST /v2/models/triage/infer")("compressed: a gzip bomb of tensors", 415, None, BOMB, **encoded("gzip")),
    on("POST /hf/triage")("compressed: a gzip bomb of inputs", 400, None, BOMB, **encoded("gzip")),
    on("POST /v1/chat/completions")("compressed: a gzip bomb of messages", 400, "not_utf8", BOMB, **encoded("gzip")),
    on("POST /predictions?student=triage")("compressed: a gzip bomb of rows", 415, "unsupported-format", BOMB, headers=CSV),
    on("POST /webhooks")("large: JSON of settings", 413, "upload-too-large", b'{"url": "' + b"a" * 6_000_000 + b'"}', headers=JSON),
    PLAIN("large: a length that is a lie", 413, "upload-too-large", b"[]", headers={**JSON, "content-length": "9" * 18}),
    PLAIN("large: ten million empty rows", 422, "too-many-values", "[" + "{}," * 10_000_000 + "{}]", headers=JSON),
    PLAIN(
        "large: ten million brackets in a text",
        422,
        "invalid-rows",
        json.dumps([*ROWS, {"text": "[{" * 5_000_000, "label": "a"}]),
        headers=JSON,
    ),
)
def test_forms(service: Service, attack: Attack) -> None:
    check(service.api, attack, service.known)
