"""Models and completions, by the official client."""

import math
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam
from starlette.testclient import TestClient

from tests.app.calls import predictor_of

Publish = Callable[..., int]
PRESETS = ["fast", "balanced", "sensitive", "thorough", "paper"]
NAME = "ft:bag:gendistil:triage:1"


def ask(client: OpenAI, text: str = "my card", **options: Any) -> Any:
    messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": "Sort."}, {"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": NAME, "messages": messages, **options})


def test_the_label_is_the_message(publish: Publish, ai: OpenAI) -> None:
    publish()
    answer = ask(ai)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason, choice.logprobs) == ("assistant", "card", "stop", None)
    assert (answer.object, answer.model) == ("chat.completion", NAME)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 1, 3)
    for model in ("triage", "triage@latest", "triage:1", NAME):
        assert ask(ai, model=model).model == NAME


def test_the_text_is_the_last_message_of_the_user(publish: Publish, near: OpenAI) -> None:
    publish()
    turns = [
        {"role": "user", "content": "my card"},
        {"role": "assistant", "content": "card"},
        {"role": "user", "content": [{"type": "text", "text": "the"}, {"type": "text", "text": "pin"}]},
        {"role": "developer", "content": "Be brief."},
    ]
    assert ask(near, messages=turns).choices[0].message.content == "pin"


def test_logprobs_are_those_of_the_labels(publish: Publish, near: OpenAI, client: TestClient) -> None:
    publish()
    expected = client.post("/predict", json={"student": "triage", "inputs": "my card", "top_k": 3}).json()["predictions"][0]["scores"]
    token = ask(near, logprobs=True, top_logprobs=20).choices[0].logprobs.content[0]
    assert (token.token, bytes(token.bytes).decode()) == ("card", "card")
    assert [(each.token, math.exp(each.logprob)) for each in token.top_logprobs] == [
        (score["label"], pytest.approx(score["score"])) for score in expected
    ]
    alone = ask(near, logprobs=True).choices[0].logprobs.content[0]
    assert (alone.logprob, alone.top_logprobs) == (token.logprob, [])


def test_what_changes_nothing_of_a_label_is_taken(publish: Publish, near: OpenAI) -> None:
    publish()
    harmless = {"temperature": 0, "max_tokens": 1, "top_p": 1, "seed": 3, "stop": ["\n"], "user": "u", "presence_penalty": 0.5}
    harmless |= {"n": 1, "response_format": {"type": "text"}, "modalities": ["text"], "tools": [], "metadata": {"a": "b"}, "store": False}
    assert ask(near, **harmless).choices[0].message.content == "card"


def test_a_stream_is_one_chunk(publish: Publish, ai: OpenAI) -> None:
    publish()
    (chunk,) = ask(ai, stream=True, logprobs=True)
    assert (chunk.object, chunk.model) == ("chat.completion.chunk", NAME)
    (choice,) = chunk.choices
    assert (choice.delta.role, choice.delta.content, choice.finish_reason) == ("assistant", "card", "stop")
    assert choice.logprobs.content[0].token == "card"
    first, last = ask(ai, stream=True, stream_options={"include_usage": True})
    assert (first.usage, last.choices, last.usage.total_tokens) == (None, [], 3)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "the pin"}]
    with ai.chat.completions.stream(model=NAME, messages=messages) as events:
        assert events.get_final_completion().choices[0].message.content == "pin"


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "Sort."}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": "card " * 9000}]}, "messages"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"extra_body": {"functions": [{"name": "f"}]}}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_what_is_not_offered_is_named(publish: Publish, near: OpenAI, options: dict[str, Any], param: str) -> None:
    publish()
    with pytest.raises(openai.BadRequestError) as caught:
        ask(near, **options)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_too_much_to_do(publish: Publish, near: OpenAI, client: TestClient) -> None:
    publish()
    admission = predictor_of(client).admission
    admission.requests = 10_000
    with pytest.raises(openai.RateLimitError) as caught:
        ask(near)
    assert (caught.value.type, caught.value.code) == ("rate_limit_error", "rate_limit_exceeded")
    assert caught.value.response.headers["retry-after"] == "1"
    admission.requests = 0
    assert ask(near).choices[0].message.content == "card"


def test_models_that_are_not_there(publish: Publish, near: OpenAI) -> None:
    publish()
    for model in (
        "gpt-4o-mini",
        "fast",
        "ft:bag:gendistil:triage:2",
        "ft:bag:gendistil:triage",
        "ft:::triage:x",
        "triage@",
        "triage:1:2",
        "\x00",
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            ask(near, model=model)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_student_that_cannot_be_served(publish: Publish, near: OpenAI) -> None:
    publish(model=b"this is no ONNX file")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(near)
    assert (caught.value.status_code, caught.value.type) == (503, "server_error")


def test_models_are_presets_and_versions(publish: Publish, near: OpenAI, client: TestClient) -> None:
    assert [model.id for model in near.models.list()] == PRESETS
    publish()
    publish()
    newer = "ft:bag:gendistil:triage:2"
    found = list(near.models.list())
    assert [model.id for model in found] == [*PRESETS, newer, NAME]
    assert {(model.object, model.owned_by) for model in found} == {("model", "gendistil")}
    assert near.models.retrieve(NAME) == found[-1]
    assert near.models.retrieve("fast").id == "fast"
    client.put("/students/triage/aliases/champion", json={"version": 1})
    assert [near.models.retrieve(model).id for model in ("triage", "triage@champion", "triage:1")] == [newer, NAME, NAME]
    for model in ("triage:3", "no-one", "ft:x", "gpt-4o", "\x00"):
        with pytest.raises(openai.NotFoundError):
            near.models.retrieve(model)


def test_deleting_a_model(publish: Publish, near: OpenAI, client: TestClient) -> None:
    publish()
    publish()
    newer = "ft:bag:gendistil:triage:2"
    assert ask(near, model="triage").model == newer
    assert (gone := near.models.delete(newer)).deleted
    assert gone.id == newer
    assert ask(near, model="triage").model == NAME
    client.put("/students/triage/aliases/champion", json={"version": 1})
    with pytest.raises(openai.ConflictError, match="alias 'champion' points at triage:1"):
        near.models.delete(NAME)
    for model in ("triage", "triage@latest", "fast"):
        with pytest.raises(openai.BadRequestError):
            near.models.delete(model)
    for model in (newer, "GPT", "triage@a:b"):
        with pytest.raises(openai.NotFoundError):
            near.models.delete(model)


def test_bodies_that_cannot_be_read(near: OpenAI) -> None:
    for content in (b"{", b"\xff", b"[]", b"{}"):
        answer = near._client.post("/v1/chat/completions", content=content)
        assert (answer.status_code, set(answer.json()["error"])) == (400, {"message", "type", "param", "code"})
