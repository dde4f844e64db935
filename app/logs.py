"""Logs: one line an event, as JSON or as text, with what the work at hand is known by: its job, stage and attempt, or its request.

The standard library and not structlog: Celery, uvicorn and SQLAlchemy write through it anyway, so one formatter reaches their lines too.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, TextIO, TypeVar

from app.config import get_settings
from app.tracebacks import frames_of

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_NO_FIELDS: Mapping[str, object] = {}
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=_NO_FIELDS)
# And what a terminal obeys though it is no control: ends of lines, and orders to write from right to left.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_INPUT_VALUE = re.compile(r"input_value=.*, input_type=")
QUIET = {"quiet": True}
"""`extra` of a line about work on users' texts: above DEBUG its trace does not have what its exceptions say, which may quote one."""
_AT_WORK_ON_TEXTS = {"asyncio", "celery.app.trace", "uvicorn.error"}
"""Loggers of those who run our code, and log what it raises."""
_NEEDS_QUOTES = re.compile(r'[\s="]')


@contextmanager
def context(**fields: object) -> Iterator[None]:
    """Adds the fields to every line that is logged inside, by whichever library. Inner ones win; None leaves a field out."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def bind(**fields: object) -> None:
    """Adds the fields to every further line of this asyncio task or thread."""
    _fields.set({**_fields.get(), **fields})


def bound(name: str) -> object:
    """A field of here and now; None if there is none."""
    return _fields.get().get(name)


def carried(call: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """The same function, with the fields of here and now wherever it runs: a new thread starts with none."""
    here = copy_context()

    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        return here.copy().run(call, *args, **kwargs)

    return run


class _Formatter(logging.Formatter):
    def __init__(self, process_fields: Mapping[str, object] = _NO_FIELDS) -> None:
        super().__init__()
        self.process_fields = process_fields

    def fields(self) -> dict[str, object]:
        return {name: value for name, value in {**self.process_fields, **_fields.get()}.items() if value is not None}

    def trace(self, record: logging.LogRecord) -> str:
        parts = [self._exception(record, record.exc_info)] if record.exc_info else []
        return _without_inputs("\n".join([*parts, record.stack_info] if record.stack_info else parts))

    def _exception(self, record: logging.LogRecord, given: Any) -> str:
        quiet = getattr(record, "quiet", False) or record.name in _AT_WORK_ON_TEXTS
        if quiet and given[1] is not None and not logging.getLogger().isEnabledFor(logging.DEBUG):
            return frames_of(given[1])
        return self.formatException(given)


class JsonFormatter(_Formatter):
    """An object a line: `time` (UTC), `level`, `logger`, `message`, the fields, and `exception` with the trace."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_inputs(record.getMessage()),
            **self.fields(),
        }
        if trace := self.trace(record):
            line["exception"] = trace
        return json.dumps(line, default=str)


class TextFormatter(_Formatter):
    """For people. Lines after an event's first are indented, and control characters spelt out: no message can pose as another event."""

    def format(self, record: logging.LogRecord) -> str:
        shown = _without_inputs(record.getMessage())
        if fields := self.fields():
            shown += "  " + " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        if trace := self.trace(record):
            shown += f"\n{trace}"
        shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", shown).replace("\n", "\n    ")
        return f"{_time(record)} {record.levelname:<7} {record.name}: {shown}"


def configure_logging(**process_fields: object) -> None:
    """Sends all logs of this process to standard error, as the settings want them. Called again, it starts over.

    `process_fields` stand on every line. Python's warnings and uncaught exceptions become events too.
    """
    settings = get_settings()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler = _Handler()
    handler.setFormatter((TextFormatter if as_text else JsonFormatter)(process_fields))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    # It tells whole addresses, and those of webhooks may hold a token.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error"):  # they have handlers and a level of their own
        adopt(name)
    # The API's own access line knows the route and the request's id; a raw path may hold what a caller should not have put there.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def adopt(name: str) -> None:
    """Lets a library that set up its own logger log as everyone does."""
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


class _Handler(logging.StreamHandler[TextIO]):
    """Known by its class, so that `configure_logging` replaces its own handler and no other."""


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_inputs(text: str) -> str:
    """Pydantic quotes what it refuses, which may be a text of a user."""
    return _INPUT_VALUE.sub("input_value=..., input_type=", text)


def _quoted(value: object) -> str:
    shown = str(value)
    return json.dumps(shown) if _NEEDS_QUOTES.search(shown) else shown


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, Exception):  # Ctrl-C is no fault
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger(__name__).critical("the process ends: %s", kind.__name__, exc_info=(kind, error, trace))


def _log_uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is None or not isinstance(given.exc_value, Exception):
        return
    name = given.thread.name if given.thread else "?"
    logging.getLogger(__name__).critical("thread %s ended", name, exc_info=(given.exc_type, given.exc_value, given.exc_traceback))
