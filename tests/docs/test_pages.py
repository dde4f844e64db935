"""Every command and snippet of the documentation does what the page says, page by page, on a real service."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.before import BEFORE
from tests.docs.blocks import JSON, LANGUAGES, PYTHON, SHELL, YAML, Block, name_of, pages, read_blocks
from tests.docs.service import log_tails
from tests.docs.shell import Answered, Terminal
from tests.docs.shown import Names, differences, last_json, read_shown

BLOCKS = {name_of(page): read_blocks(page) for page in pages()}
RUN = sorted(name for name, blocks in BLOCKS.items() if any(block.language in (SHELL, PYTHON) and not block.reason for block in blocks))
PARSED = [block for blocks in BLOCKS.values() for block in blocks]
_ADDRESS = re.compile(r"(127\.0\.0\.1|localhost):8000")


class Page:
    """Runs a page's blocks in their order, and compares what the page shows with what came."""

    def __init__(self, terminal: Terminal, url: str) -> None:
        self.terminal, self.address = terminal, url.removeprefix("http://")
        self.names = Names()

    def run(self, blocks: list[Block]) -> None:
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            if block.reason or block.language not in (SHELL, PYTHON):
                continue
            text = self.names.replaced(_ADDRESS.sub(self.address, block.text))
            answered = self.terminal.run(text) if block.language == SHELL else self.terminal.python(text)
            expected = following if following and following.language in (JSON, "text") and not following.reason else None
            self.check(block, answered, expected)

    def check(self, block: Block, answered: Answered, expected: Block | None) -> None:
        said = f"{block.place}\n{answered.output[-3000:]}"
        shown = read_shown(expected.text) if expected and expected.language == JSON else None
        last = shown.status if shown and shown.status else 0
        statuses = answered.statuses[:-1] if last >= 400 else answered.statuses
        assert [status for status in statuses if status >= 400] == [], said
        if shown is not None:
            if shown.status is not None:
                assert answered.statuses[-1:] == [shown.status], said
            for name, value in shown.headers.items():
                assert name.lower() in answered.headers, (said, answered.headers)
                self.names.meet(*(re.sub(r".*/", "", text) for text in (value, answered.headers[name.lower()])))
            if shown.value is not None:
                found = differences(shown.value, last_json(answered.output), self.names)
                assert found == [], f"{found}\n{said}"
        elif expected is not None:
            check_text(expected, answered.output)


def check_text(expected: Block, output: str) -> None:
    """Each shown line begins as one of the output does, `...` apart."""
    begun = {line.split()[0] for line in output.splitlines() if line.split()}
    for line in expected.text.splitlines():
        if line.split() and line.split()[0] != "...":
            assert line.split()[0] in begun, f"{expected.place}: {line!r} is shown; the output is\n{output[-3000:]}"


@pytest.mark.e2e
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RUN)
def test_what_a_page_tells_to_do_works(name: str, page_service: str, tmp_path: Path) -> None:
    if missing := [tool for tool in ("curl", "jq", "openssl") if shutil.which(tool) is None]:
        pytest.skip(f"the page's commands need {', '.join(missing)}")
    # A path of its own, short enough to be read in what a command prints.
    with tempfile.TemporaryDirectory(prefix="gendistil-page-") as folder:
        terminal = Terminal(Path(folder) / "checkout", page_service, tmp_path / "data")
        page = Page(terminal, page_service)
        try:
            terminal.run(_ADDRESS.sub(page.address, BEFORE.get(name, "")))
            page.run(BLOCKS[name])
        except AssertionError as error:
            error.add_note(log_tails(tmp_path))
            raise
        finally:
            terminal.close()


@pytest.mark.parametrize("block", PARSED, ids=lambda block: block.place)
def test_a_block_is_what_it_says(block: Block) -> None:
    """Blocks that no test can run, too: a docker daemon, a cloud's bucket."""
    assert block.language in LANGUAGES, f"begin it with ``` and one of {LANGUAGES}, and ' not run: why' if need be"
    match block.language:
        case "sh":
            checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
            assert checked.returncode == 0, f"{block.place}: {checked.stderr}"
        case "python":
            compile(block.text, block.place, "exec")
        case "json":
            read_shown(block.text)
        case language if language == YAML:
            assert yaml.safe_load(block.text)


@pytest.mark.parametrize(("shown", "answered", "told"), [
    ('{"id": "job_0123456789", "n": 1, ...}', {"id": "job_abcdefghij", "n": 2.5, "more": None}, []),
    ('{"a": 1}', {"a": 1, "b": 2}, [".b: answered, and not shown"]),
    ('{"a": {...}, "c": [...]}', {"a": {"x": 1}, "c": [1, 2]}, []),
    ('{"a": [{"b": 1}, ...]}', {"a": []}, [".a: 1 are shown, 0 answered"]),
    ('{"version": 1}', {"version": 2}, [".version: shown 1, answered 2"]),
    ('{"type": "urn:gendistil:a"}', {"type": "urn:gendistil:b"}, ['.type: shown "urn:gendistil:a", answered "urn:gendistil:b"']),
    ('{"text": "..., or {not} [this]"}', {"text": "other"}, []),
    ('{"a": "1"}', {"a": 1}, ['.a: shown "1", answered 1']),
    ('{"a": true, "b": true}', {"a": None, "b": 1}, [".b: shown true, answered 1"]),
])  # fmt: skip
def test_what_is_shown_is_compared(shown: str, answered: Any, told: list[str]) -> None:
    assert differences(read_shown(shown).value, answered, Names()) == told


def test_an_id_that_was_met_stands_for_the_services_own() -> None:
    names = Names()
    assert differences({"id": "job_0123456789"}, {"id": "job_abcdefghij"}, names) == []
    assert names.replaced("curl $U/jobs/job_0123456789") == "curl $U/jobs/job_abcdefghij"
    assert differences({"job_id": "job_0123456789"}, {"job_id": "job_zzzzzzzzzz"}, names) != []


def test_the_last_answer_of_several_is_read() -> None:
    assert last_json('{"a": 1}noise {not json\n' + json.dumps([{"b": "}{"}])) == [{"b": "}{"}]


def test_a_status_and_headers_stand_before_the_body() -> None:
    shown = read_shown('202  Location: /jobs/job_1\n     Retry-After: 2\n     {"id": "job_1", ...}')
    assert (shown.status, list(shown.headers), shown.value["id"]) == (202, ["Location", "Retry-After"], "job_1")
