"""Whatever is sent, the service takes no more memory than its limits allow: measured as the peak of a real process."""

import gzip
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator

import pytest

from app.config import Settings
from app.migrate import upgrade
from tests.hostile.archives import Files, bundle, changed, constant, outer_product, zipped
from tests.hostile.wire import Child, chunked, head, in_child, sent, type_of

MB = 1_000_000
JSON = "Content-Type: application/json"


@pytest.fixture(scope="module")
def child(environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    upgrade(Settings().resolved_database_url())
    with in_child(tmp_path_factory.mktemp("child")) as child:
        # What a first request of each kind loads for good is not what is measured.
        for body in (b'[{"text": "a", "label": "b"}]', b"text,label\na,b\n"):
            post(child, "/datasets", body)
        post(child, "/students/import", b"PK")
        yield child


def post(child: Child, path: str, body: bytes, *headers: str) -> tuple[int | None, str | None]:
    status, answer, _taken = sent(child.port, [head(f"POST {path}", f"Content-Length: {len(body)}", *headers), body])
    return status, type_of(answer)


def endless(child: Child, path: str, piece: bytes, *headers: str) -> tuple[int | None, str | None]:
    pieces: Iterable[bytes] = chunked(piece for _ in range(20_000))
    status, answer, _taken = sent(child.port, [head(f"POST {path}", "Transfer-Encoding: chunked", *headers), *pieces])
    return status, type_of(answer)


def bomb(files: Files) -> bytes:
    return zipped([*bundle(files).items(), ("README.md", bytes(200 * MB))])


def lying(files: Files) -> bytes:
    content = bytearray(zipped([*bundle(files).items(), ("report.json", bytes(200 * MB))], zipfile.ZIP_DEFLATED))
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (1000).to_bytes(4, "little")
    return bytes(content)


Send = Callable[[Child, Files], tuple[int | None, str | None]]
ROWS = b"[" + b"{}," * (16 * MB) + b"{}]"


@pytest.mark.parametrize(
    ("send", "answer", "most"),
    [
        pytest.param(lambda child, _: post(child, "/datasets", ROWS, JSON), (422, "too-many-values"), 300 * MB, id="rows without a field"),
        pytest.param(
            lambda child, _: post(child, "/datasets", gzip.compress(bytes(300 * MB)), JSON, "Content-Encoding: gzip"),
            (400, "not-utf8"),
            50 * MB,
            id="a gzip bomb",
        ),
        pytest.param(lambda child, _: endless(child, "/webhooks", b"[" * 65_536, JSON), (413, "upload-too-large"), 50 * MB, id="settings"),
        pytest.param(lambda child, _: endless(child, "/datasets", b" " * 65_536, JSON), (413, "upload-too-large"), 200 * MB, id="rows"),
        pytest.param(lambda child, _: endless(child, "/predict", b" " * 65_536, JSON), (413, "upload-too-large"), 200 * MB, id="texts"),
        pytest.param(
            lambda child, _: post(child, "/jobs", b"[" * (40 * MB), JSON), (422, "too-many-values"), 300 * MB, id="40 MB of nesting"
        ),
        pytest.param(lambda child, files: post(child, "/students/import", bomb(files)), (422, "invalid-bundle"), 50 * MB, id="a zip bomb"),
        pytest.param(
            lambda child, files: post(child, "/students/import", lying(files)), (422, "invalid-bundle"), 50 * MB, id="a zip that lies"
        ),
        pytest.param(
            lambda child, files: post(child, "/students/import", changed(onnx=constant(2**29))(files)),
            (422, "invalid-bundle"),
            50 * MB,
            id="a tensor of 2 GB",
        ),
        pytest.param(
            lambda child, files: post(child, "/students/import", changed(onnx=outer_product(30_000))(files)),
            (422, "invalid-bundle"),
            50 * MB,
            id="a product of 4 GB",
        ),
        pytest.param(
            lambda child, _: (sent(child.port, [b"GET / HTTP/1.1\r\nX: ", *[b"a" * 65_536] * 5000])[0], None),
            (431, None),
            20 * MB,
            id="a header that never ends",
        ),
        pytest.param(
            lambda child, _: post(child, "/datasets", b"text,label\n" + b'"' + b"a\n" * (20 * MB)),
            (400, "broken-rows"),
            700 * MB,
            id="a quote",
        ),
    ],
)
def test_peak(child: Child, student_files: Files, send: Send, answer: tuple[int | None, str | None], most: int) -> None:
    """`most`: bytes that the process may grow by while it answers."""
    child.forget_peak()
    before = child.bytes("VmRSS")
    assert send(child, student_files) == answer
    assert child.bytes("VmHWM") - before < most


def test_what_was_taken_is_given_back(child: Child) -> None:
    """The same attack again and again adds nothing to what the first one took."""
    body = json.dumps([{"text": "a" * 1000, "label": 1}] * 5000).encode()
    for _ in range(3):
        post(child, "/datasets", body, JSON)
    before = child.bytes("VmRSS")
    for _ in range(20):
        post(child, "/datasets", body, JSON)
    assert child.bytes("VmRSS") - before < 40 * MB
