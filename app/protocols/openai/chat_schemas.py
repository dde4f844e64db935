"""A completion: what a caller sends, and what it is answered."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool


class StreamOptions(BaseModel):
    include_usage: StrictBool | None = None


class ChatRequest(BaseModel):
    """What is not named here (temperature, max_tokens, seed, stop, user and the like) changes nothing of a label, and is not looked at."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=300, description="`ft:...`, or a student's name, name@alias or name:version.")
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)] = Field(
        description="The last one of the user is classified, the others are not read.",
        examples=[[{"role": "user", "content": "Where is my card?"}]],
    )
    n: Annotated[int, Field(ge=1, le=1, strict=True)] | None = Field(None, description="There is one answer.")
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    logprobs: StrictBool | None = Field(None, description="Of the label, which counts as one token.")
    top_logprobs: Annotated[int, Field(ge=0, le=20, strict=True)] | None = Field(None, description="Labels, the best first.")
    response_format: dict[str, Any] | None = Field(None, description="`text` alone.")
    tools: list[Any] | None = Field(None, description="None.", json_schema_extra={"maxItems": 0})
    functions: list[Any] | None = Field(None, description="None.", json_schema_extra={"maxItems": 0})
    modalities: list[str] | None = Field(None, description="`text` alone.")


class TopLogprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class Message(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str = Field(description="The label.")
    refusal: None = None


class Choice(BaseModel):
    index: Literal[0] = 0
    message: Message
    logprobs: Logprobs | None
    finish_reason: Literal["stop"] = "stop"


class Usage(BaseModel):
    prompt_tokens: int = Field(description="Pieces that the student read.")
    completion_tokens: Literal[1] = 1
    total_tokens: int


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = Field(description="The version that answered.")
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str = Field(description="Of the student's files.")
