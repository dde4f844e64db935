"""Traces of exceptions without what they say, where that may be a user's text: a `KeyError` quotes its key, a `ValueError` its value."""

import traceback
from pathlib import Path

WITHHELD = "(withheld, as it may quote a text; the log at level DEBUG has it)"
_OURS = {"app", "gendistil", "workers"}
_NUMBERS_ALONE = {"torch"}
"""Packages that see no texts."""
_OF_A_SERVER = {"OperationalError", "InterfaceError"}
"""What SQLAlchemy and its drivers call a database that is away."""
_SAFE = (OSError, MemoryError, ArithmeticError)


def is_tellable(error: BaseException) -> bool:
    """Whether its message cannot quote a text: one of our own, or of kinds that speak of files, memory, numbers or connections alone."""
    kind = type(error)
    if isinstance(error, _SAFE) or kind.__module__.partition(".")[0] in _OURS | _NUMBERS_ALONE or kind.__name__ in _OF_A_SERVER:
        return True
    # Tokenizers and safetensors, which are written in Rust, tell the operating system's errors in exceptions of their own.
    return "(os error " in str(error) or (isinstance(error, RuntimeError) and _raised_in(error) in _NUMBERS_ALONE)


def place_of(error: BaseException) -> str:
    """Where it was raised, as `file.py:12`."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def frames_of(error: BaseException) -> str:
    """As Python prints it, with the causes first, but for what may quote a text. The lines of code that it shows are ours."""
    parts: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        kind = type(following)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        said = str(following) if is_tellable(following) else WITHHELD
        parts.append("".join(["Traceback (most recent call last):\n", *traceback.format_tb(following.__traceback__), f"{name}: {said}"]))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return "\n\nwhich led to:\n\n".join(reversed(parts))


def _raised_in(error: BaseException) -> str:
    """The package of the innermost frame."""
    walked = list(traceback.walk_tb(error.__traceback__))
    return str(walked[-1][0].f_globals.get("__name__", "")).partition(".")[0] if walked else ""
