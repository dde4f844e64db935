"""Server-Sent Events as that API sends them: messages without a name, and one that says the stream is whole."""

from typing import Any

from fastapi.sse import format_sse_event

DONE = format_sse_event(data_str="[DONE]")
EVENT_STREAM: dict[str, Any] = {
    "text/event-stream": {"itemSchema": {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}}
}
