"""What a process writes to its standard error, read as a collector of logs would."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

Json = dict[str, Any]


SETUP = """
import logging, threading
from app.logs import bind, carried, configure_logging, context
configure_logging(worker="host:7")
log = logging.getLogger("a.dependency")
"""


def stderr_of(program: str, **settings: str) -> str:
    """What a Python program, with logging configured, wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENDISTIL_")}
    command = [sys.executable, "-c", SETUP + program]
    return subprocess.run(command, capture_output=True, text=True, env={**environment, **settings}, timeout=60, check=False).stderr


def events_of(program: str, **settings: str) -> list[Json]:
    return [json.loads(line) for line in stderr_of(program, **settings).splitlines()]


def test_json_is_what_no_terminal_gets() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # to which it is cut
    (event,) = events_of("log.warning('%s of %s', 'é\\n', 2)")
    moment = datetime.fromisoformat(event.pop("time"))
    assert moment.tzinfo == UTC
    assert before <= moment <= datetime.now(UTC)
    assert event == {"level": "WARNING", "logger": "a.dependency", "message": "é\n of 2", "worker": "host:7"}


def test_the_context_is_on_every_line_inside() -> None:
    found = events_of(
        "with context(job='job_1', stage='label', attempt=1):\n"
        "    with context(attempt=2, stage=None):\n"
        "        log.info('inner')\n"
        "    log.info('outer')\n"
        "log.info('after')\n"
    )
    assert [[event.get(name) for name in ("message", "job", "stage", "attempt", "worker")] for event in found] == [
        ["inner", "job_1", None, 2, "host:7"],
        ["outer", "job_1", "label", 1, "host:7"],
        ["after", None, None, None, "host:7"],
    ]


def test_the_context_goes_along_into_threads() -> None:
    found = events_of(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with context(job='job_1'):\n"
        "    call = carried(lambda text: log.info(text))\n"
        "started = threading.Thread(target=call, args=('thread',)); started.start(); started.join()\n"
        "with context(job='job_2'), ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(call, ['pool'] * 20))\n"
    )
    assert {(event["message"], event["job"]) for event in found} == {("thread", "job_1"), ("pool", "job_1")}
    assert len(found) == 21


def test_bound_fields_stay_in_their_task() -> None:
    found = events_of(
        "import asyncio\n"
        "async def answer(number):\n"
        "    bind(request_id=number)\n"
        "    await asyncio.sleep(0)  # the others bind theirs\n"
        "    log.info('%s', number)\n"
        "async def main():\n"
        "    await asyncio.gather(*(asyncio.create_task(answer(number)) for number in range(3)))\n"
        "    log.info('end')\n"
        "asyncio.run(main())"
    )
    assert [event.get("request_id") for event in found] == [0, 1, 2, None]


def test_traces_warnings_and_uncaught_errors_are_events() -> None:
    found = events_of(
        "import warnings\n"
        "try:\n"
        "    1 / 0\n"
        "except ZeroDivisionError:\n"
        "    log.exception('failed')\n"
        "warnings.warn('odd')\n"
        "def fall(): raise KeyError('thread')\n"
        "started = threading.Thread(target=fall, name='sweeper'); started.start(); started.join()\n"
        "raise RuntimeError('main')"
    )
    assert [(event["level"], event["logger"]) for event in found] == [
        ("ERROR", "a.dependency"),
        ("WARNING", "py.warnings"),
        ("CRITICAL", "app.logs"),
        ("CRITICAL", "app.logs"),
    ]
    assert "ZeroDivisionError: division by zero" in found[0]["exception"]
    assert "odd" in found[1]["message"]
    assert "sweeper" in found[2]["message"]
    assert "KeyError: 'thread'" in found[2]["exception"]
    assert "RuntimeError: main" in found[3]["exception"]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_pydantic_refuses_is_not_quoted(log_format: str) -> None:
    shown = stderr_of(
        "from pydantic import BaseModel\n"
        "class Row(BaseModel):\n"
        "    text: int\n"
        "try:\n"
        "    Row(text='my card, input_type=x, was stolen')\n"
        "except ValueError as error:\n"
        "    log.exception('refused: %s', error)\n",
        GENDISTIL_LOG_FORMAT=log_format,
    )
    assert shown.count("valid integer") == 2
    assert "stolen" not in shown


def test_text_is_for_people_and_cannot_be_forged() -> None:
    lines = stderr_of(
        "with context(job='job 1', attempt=2):\n"
        "    log.info('one\\n2030-01-01T00:00:00.000Z INFO app: forged\\x1b[2J\\r')\n"
        "log.info('two')",
        GENDISTIL_LOG_FORMAT="text",
    ).splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    a\.dependency: one", lines[0])
    assert lines[1] == r'    2030-01-01T00:00:00.000Z INFO app: forged\x1b[2J\x0d  worker=host:7 job="job 1" attempt=2'
    assert lines[2].endswith("a.dependency: two  worker=host:7")


@pytest.mark.parametrize(("level", "shown"), [("", ["info", "error"]), ("debug", ["debug", "info", "error"]), ("ERROR", ["error"])])
def test_the_level_is_a_setting(level: str, shown: list[str]) -> None:
    settings = {"GENDISTIL_LOG_LEVEL": level} if level else {}
    found = events_of("log.debug('debug'); log.info('info'); log.error('error')", **settings)
    assert [event["message"] for event in found] == shown


def test_configured_twice_says_nothing_twice() -> None:
    (event,) = events_of("configure_logging(worker='other'); log.info('once')")
    assert event["worker"] == "other"


def test_a_terminal_gets_text() -> None:
    master, terminal = pty.openpty()
    program = "import logging; from app.logs import *; configure_logging(); logging.getLogger('a').warning('hello')"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GENDISTIL_")}
    subprocess.run([sys.executable, "-c", program], stderr=terminal, env=environment, timeout=60, check=True)
    os.close(terminal)
    shown = os.read(master, 10_000).decode()
    os.close(master)
    assert shown.endswith("WARNING a: hello\r\n")


FAILING = """
from app.logs import QUIET
def convert():
    return float('my card was stolen')
try:
    try:
        convert()
    except ValueError as error:
        raise KeyError('a text of mine') from error
except KeyError as error:
    caught = error
    log.error('failed', exc_info=error, extra=QUIET)
    logging.getLogger('uvicorn.error').error('Exception in ASGI application', exc_info=error)
try:
    open('/no/such/file')
except OSError as error:
    log.error('failed', exc_info=error, extra=QUIET)
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_work_on_texts_is_logged_without_what_its_exceptions_say(log_format: str) -> None:
    shown = stderr_of(FAILING, GENDISTIL_LOG_FORMAT=log_format)
    # The lines of code of a program that is a string are not there to be shown.
    assert "stolen" not in shown
    assert "of mine" not in shown
    assert shown.count("KeyError: (withheld") == shown.count("ValueError: (withheld") == 2
    assert shown.count("in convert") == 2  # the frames of the cause too
    assert "/no/such/file" in shown


def test_at_debug_all_is_shown() -> None:
    shown = stderr_of(FAILING, GENDISTIL_LOG_LEVEL="DEBUG")
    assert shown.count("stolen") == shown.count("of mine") == 2
