"""Lines of a fine-tuning file as labelled rows. A row's number is that of its line.

Of a chat, the label is the last message, which must be the assistant's, and the text is the last message of the user. What stands
before, system messages and earlier turns, is not read: neither here nor when the student is asked.
"""

import json
from typing import Any

from app.datasets.json_format import check_brackets, explain, kind
from app.datasets.parsing import check_is_text, decode_utf8
from app.datasets.raw import Faults, RawRow, no_rows, quote, too_many_rows
from app.errors import FieldError, ServiceError

_REMEDY = (
    'Write one object a line: {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "the label"}]}, '
    '{"prompt": "...", "completion": "the label"} or {"text": "...", "label": "..."}.'
)
_TEXT_PARTS = ("text", "input_text", "output_text")


def read_examples(content: bytes, max_rows: int) -> list[RawRow]:
    """At least one row. Raises `ServiceError` 400 that names the lines at fault, 415 for an archive, 422 for no rows or too many."""
    check_is_text(content)
    decoded = _decoded(content)
    check_brackets(decoded)
    faults, rows = Faults(), []
    for number, line in enumerate(decoded.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            text, label = _example(json.loads(line))
            rows.append(RawRow(number, text, label))
        except Unreadable as error:
            faults.add(str(error), _REMEDY, row=number)
        except (ValueError, RecursionError) as error:
            faults.add(f"it is not valid JSON: {explain(error)}", _REMEDY, row=number)
        if len(rows) > max_rows:
            raise too_many_rows(max_rows, f"more than {max_rows:,}")
    faults.raise_any(400, "invalid-file", "The file cannot be read")
    if not rows:
        raise no_rows("The file is empty.")
    return rows


class Unreadable(Exception):
    """What is wrong with messages, for a sentence."""


def last_user_text(messages: list[Any]) -> str:
    """Raises `Unreadable`."""
    for message in reversed(messages):
        if not isinstance(message, dict):
            raise Unreadable(f"a message is {kind(message)}, not an object")
        if message.get("role") == "user":
            return _content(message)
    raise Unreadable("there is no message of the user")


def _decoded(content: bytes) -> str:
    try:
        return decode_utf8(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        detail = f"it is not UTF-8: byte {error.start} of the file is 0x{content[error.start]:02x}"
        remedy = "Save the file as UTF-8."
        fault = FieldError(row=line, detail=detail, remedy=remedy)
        raise ServiceError(400, "invalid-file", detail, remedy=remedy, errors=[fault]) from None


def _example(value: Any) -> tuple[object, object]:
    if not isinstance(value, dict):
        raise Unreadable(f"it is {kind(value)}, not an object")
    if "messages" in value:
        return _chat(value["messages"])
    for text, label in (("prompt", "completion"), ("text", "label")):
        if text in value or label in value:
            said = value.get(label)
            # A completion begins with a space by custom, which is no part of the label.
            return value.get(text), said.strip() if label == "completion" and isinstance(said, str) else said
    found = ", ".join(quote(str(name)) for name in list(value)[:10]) or "nothing"
    raise Unreadable(f"it has neither messages, nor prompt and completion, nor text and label, but {found}")


def _chat(messages: Any) -> tuple[str, str]:
    if not isinstance(messages, list) or not messages:
        raise Unreadable("its messages are no list, or an empty one")
    last = messages[-1]
    if not isinstance(last, dict) or last.get("role") != "assistant":
        role = quote(str(last.get("role"))) if isinstance(last, dict) else kind(last)
        raise Unreadable(f"its last message is not the assistant's, with the label, but {role}")
    if last.get("weight") == 0:
        raise Unreadable("its last message, the label, has the weight 0")
    return last_user_text(messages[:-1]), _content(last)


def _content(message: dict[str, Any]) -> str:
    content, who = message.get("content"), quote(str(message.get("role")))
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Unreadable(f"the content of the message of {who} is {kind(content)}, not a text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type") in _TEXT_PARTS else None
        if not isinstance(text, str):
            what = quote(str(part.get("type"))) if isinstance(part, dict) else kind(part)
            raise Unreadable(f"the message of {who} holds a part {what}; only texts are read")
        texts.append(text)
    return "\n".join(texts)
