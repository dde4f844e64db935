"""Files, by the official client."""

import openai
import pytest
from openai import OpenAI

from app.config import get_settings
from app.tables import OpenAiFile
from tests.app.calls import count
from tests.app.protocols.openai.conftest import LINES, Line, as_jsonl, chat, upload


def test_a_file_comes_back_as_it_was_sent(ai: OpenAI) -> None:
    content = as_jsonl(LINES).replace(b"\n", b"\r\n")
    made = ai.files.create(file=("rows é.jsonl", content), purpose="fine-tune")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == (
        "file",
        len(content),
        "rows é.jsonl",
        "fine-tune",
        "processed",
    )
    assert made.id.startswith("file-")
    assert ai.files.retrieve(made.id) == made
    assert ai.files.content(made.id).read() == content
    assert ai.files.wait_for_processing(made.id) == made
    gone = ai.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for call in (ai.files.retrieve, ai.files.content, ai.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            call(made.id)
        assert (caught.value.code, caught.value.param) == ("file_not_found", "file_id")


def test_pages_of_files(ai: OpenAI) -> None:
    made = [upload(ai, name=f"{number}.jsonl").id for number in range(5)]
    assert [file.id for file in ai.files.list(limit=2)] == made[::-1]
    assert [file.id for file in ai.files.list(limit=2, order="asc", purpose="fine-tune")] == made
    page = ai.files.list(limit=2, after=made[3])
    assert ([file.id for file in page.data], page.has_more) == ([made[2], made[1]], True)
    assert ai.files.list(purpose="batch").data == []
    with pytest.raises(openai.BadRequestError) as caught:
        ai.files.list(after="file-none")
    assert caught.value.param == "after"
    with pytest.raises(openai.BadRequestError, match="GENDISTIL_LIMITS__PAGE_SIZE"):
        ai.files.list(limit=10_000)


PROMPT = {"prompt": "where is my card?", "completion": " lost card"}
PARTS = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "where"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
    ]
}


@pytest.mark.parametrize("line", [PROMPT, {"text": "where is my card?", "label": 7}, PARTS, chat("ü\u2028", "ä")])
def test_each_shape_of_example_is_taken(near: OpenAI, line: Line) -> None:
    assert upload(near, [line]).status == "processed"


def said(messages: list[object]) -> Line:
    return {"messages": messages}


USER, ASSISTANT = {"role": "user", "content": "where?"}, {"role": "assistant", "content": "lost"}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"text,label", "it is not valid JSON"),
        (b"[1]", "it is a list, not an object"),
        (b'{"question": "a"}', "neither messages, nor prompt and completion"),
        (said([]), "no list, or an empty one"),
        (said([ASSISTANT]), "there is no message of the user"),
        (said([USER]), "its last message is not the assistant's, with the label, but 'user'"),
        (said([USER, ASSISTANT, USER]), "its last message is not the assistant's"),
        (said(["hello", ASSISTANT]), "a message is a string, not an object"),
        (said([USER, {"role": "assistant", "content": None}]), "the content of the message of 'assistant' is null"),
        (said([USER, {**ASSISTANT, "weight": 0}]), "has the weight 0"),
        (said([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ASSISTANT]), "holds a part 'image_url'"),
        (chat(" ", "a"), "the text is empty"),
        (chat("a text", "two\nlines"), "control character U+000A"),
        ({"text": "a text"}, "the label is missing"),
        ({"prompt": 5, "completion": "a"}, "the text is a number"),
        (b'{"text": "\xff", "label": "a"}', "it is not UTF-8"),
    ],
)
def test_a_fault_is_told_by_its_line(near: OpenAI, line: Line | bytes, fault: str) -> None:
    """The blank line counts."""
    content = as_jsonl(LINES[:2]) + b"\n" + (line if isinstance(line, bytes) else as_jsonl([line])) + b"\n"
    with pytest.raises(openai.BadRequestError) as caught:
        near.files.create(file=("a.jsonl", content), purpose="fine-tune")
    assert "line 4: " in caught.value.message
    assert fault in caught.value.message
    assert caught.value.type == "invalid_request_error"
    assert count(OpenAiFile) == 0


def test_many_faults_are_counted(near: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"line 1: .*; line 2: .*; line 3: .* \(70 faults in all\)"):
        upload(near, [{"no": "text"}] * 70)


def test_what_is_no_fine_tuning_file(near: OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    for purpose in ("batch", "assistants"):
        with pytest.raises(openai.BadRequestError) as caught:
            near.files.create(file=("a.jsonl", as_jsonl(LINES)), purpose=purpose)  # type: ignore[arg-type]  # of two literals
        assert caught.value.param == "purpose"
    with pytest.raises(openai.BadRequestError) as caught:
        near.files.create(file=("a.jsonl", as_jsonl(LINES)), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600})
    assert caught.value.param == "expires_after"
    with pytest.raises(openai.BadRequestError, match="The file is empty"):
        upload(near, [])
    with pytest.raises(openai.BadRequestError, match="zip archive"):
        near.files.create(file=("a.jsonl", b"PK\x03\x04"), purpose="fine-tune")
    monkeypatch.setattr(get_settings().limits, "max_upload_bytes", 50)
    with pytest.raises(openai.APIStatusError, match="GENDISTIL_LIMITS__MAX_UPLOAD_BYTES") as refused:
        upload(near)
    assert refused.value.status_code == 413


def test_a_body_that_is_no_form(near: OpenAI) -> None:
    for body in ({"json": {}}, {"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}):
        answer = near._client.post("/v1/files", **body)  # type: ignore[arg-type]  # of either kind
        assert (answer.status_code, set(answer.json())) == (400, {"error"})
    answer = near._client.post("/v1/files", data={"purpose": "fine-tune", "file": "text"}, files={"other": b"x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
