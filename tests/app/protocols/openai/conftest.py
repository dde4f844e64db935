"""The official client: before a real server, and before the API in this process."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.types import FileObject
from starlette.testclient import TestClient

Line = dict[str, Any]
Lines = list[Line]


def chat(text: str, label: str) -> Line:
    return {
        "messages": [
            {"role": "system", "content": "Sort this."},
            {"role": "user", "content": text},
            {"role": "assistant", "content": label},
        ]
    }


LINES = [chat(f"{label} text number {number}", label) for label in ("lost card", "top up") for number in range(6)]
TEST_LINES = [chat("a lost card, seen again", "lost card"), chat("a top up, seen again", "top up")]


def as_jsonl(lines: Lines) -> bytes:
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def upload(client: OpenAI, lines: Lines = LINES, name: str = "examples.jsonl") -> FileObject:
    return client.files.create(file=(name, as_jsonl(lines)), purpose="fine-tune")


@pytest.fixture
def ai(service_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service_url}/v1", api_key="anything") as client:
        yield client


@pytest.fixture
def near(client: TestClient) -> OpenAI:
    """The API in this process, whose parts a test can reach. It sends nothing twice."""
    assert isinstance(client, httpx2.Client)
    return OpenAI(base_url="http://testserver/v1", api_key="anything", http_client=client, max_retries=0)
