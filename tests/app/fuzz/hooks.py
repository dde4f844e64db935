"""Bodies that schemathesis cannot think of. It loads this file in the folder where the test has put a bundle."""

import csv
import io
import json
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

BUNDLE = Path("bundle.zip").read_bytes()
VALUES = st.sampled_from(["a", "b", "my card was stolen", "card pin"]) | st.text() | st.none() | st.integers() | st.floats()
ROWS = st.lists(st.fixed_dictionaries({"text": VALUES}, optional={"label": VALUES}), max_size=20)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    place = draw(st.integers(0, len(BUNDLE) - 1))
    return BUNDLE[:place] + draw(st.binary(max_size=4)) + BUNDLE[place + draw(st.integers(0, 4)) :]


def as_lines(rows: list[dict[str, object]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def as_csv(rows: list[dict[str, object]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["text", "label"])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


schemathesis.openapi.media_type("application/zip", st.just(BUNDLE) | damaged() | st.binary(max_size=100))
schemathesis.openapi.media_type("application/x-ndjson", ROWS.map(as_lines) | st.binary(max_size=100))
schemathesis.openapi.media_type("text/csv", ROWS.map(as_csv) | st.binary(max_size=100))
