"""Calls of the API as curl commands, made from the examples of its OpenAPI document."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

BASE = "http://localhost:8000"
"""Where the examples ask; `reference.js` puts in where the page itself came from."""

_VALUES = {
    "alias": "production",
    "dataset_id": "ds_b47e8854293295a4",
    "delivery_id": "msg_2c9d7e1a5b3f4086",
    "file_id": "file-b47e8854293295a4",
    "fine_tuning_job_id": "ftjob-04b0e0f0e4162355",
    "job_id": "job_04b0e0f0e4162355",
    "key_id": "key_3f9a1c7e5b2d4068",
    "model": "triage",
    "model_version": "1",
    "name": "triage",
    "prediction_id": "bp_7d4e6c1f0a92b385",
    "project_id": "support",
    "student": "triage",
    "version": "1",
    "webhook_id": "wh_3b1f5a7c9d2e4068",
}
_FORM = "multipart/form-data"
_FILES = {"text/csv": "rows.csv", "application/x-ndjson": "rows.jsonl", "application/zip": "student.zip"}
_SAVED = {"application/octet-stream", "application/zip"}


def commands(method: str, path: str, operation: dict[str, Any]) -> dict[str, str]:
    """A command for each media type of the body that has an example, by that type; one by "" if there is no body."""
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        bodies = {kind: _body(kind, part) for kind, part in content.items()}
        addresses = {kind: _url(path, operation, _beside(kind, content, operation)) for kind in content}
        return {kind: f"curl{_method(method, 'POST')} {addresses[kind]} \\\n  {body}" for kind, body in bodies.items() if body}
    answers = {kind for status, answer in operation["responses"].items() if status < "3" for kind in answer.get("content", {})}
    return {"": f"curl{_method(method, 'GET')}{' -OJ' if answers & _SAVED else ''} {_url(path, operation)}"}


def _beside(kind: str, content: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """Parameters that a bare file cannot hold, while a form has to."""
    if kind not in _FILES:
        return []
    required = content.get(_FORM, {}).get("schema", {}).get("required", ())
    return [found["name"] for found in operation.get("parameters", ()) if found["in"] == "query" and found["name"] in required]


def _url(path: str, operation: dict[str, Any], asked: Sequence[str] = ()) -> str:
    values = {**_VALUES, "model": "ft:fast:gendistil:triage:1"} if path.startswith("/v1/") else _VALUES
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", values.get(parameter["name"], parameter["name"].upper()))
    query = "&".join(f"{name}={values.get(name, name.upper())}" for name in asked)
    return shlex.quote(f"{BASE}{path}?{query}" if query else BASE + path)


def _method(method: str, usual: str) -> str:
    return "" if method == usual else f" -X {method}"


def _body(kind: str, content: dict[str, Any]) -> str | None:
    example = content.get("example")
    if kind == "application/json" and example is not None:
        return f"--json {shlex.quote(json.dumps(example, ensure_ascii=False))}"
    if kind == _FORM and example is not None:
        properties = content["schema"]["properties"]
        return " \\\n  ".join(f"-F {shlex.quote(f'{name}={_part(value, properties[name])}')}" for name, value in example.items())
    if kind in _FILES:
        return f"-H 'Content-Type: {kind}' --data-binary @{_FILES[kind]}"
    return None


def _part(value: Any, schema: dict[str, Any]) -> str:
    if schema.get("format") != "binary":
        return value if isinstance(value, str) else json.dumps(value)
    return "@rows.jsonl" if str(value).startswith("{") else "@rows.csv"
