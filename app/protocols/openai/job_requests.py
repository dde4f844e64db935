"""What a caller sends to start a job, and the spec that it means."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from app.contracts.presets import PRESETS
from app.contracts.spec import JobSpec
from app.errors import ServiceError
from app.jobs.spec_errors import checked_spec
from app.protocols.openai.errors import refusal

_AUTO = {"const": "auto"}
_WHERE = "method.supervised.hyperparameters"
_OF_TEACHER = {
    "spec.teacher.epochs": "n_epochs",
    "spec.teacher.batch_size": "batch_size",
    "spec.teacher.learning_rate": "learning_rate_multiplier",
}


def _none_if_auto(value: Any) -> Any:
    return None if value == "auto" else value


def _number(least: dict[str, Any], kind: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [_AUTO, {"type": kind, **least}, {"type": "null"}], "default": "auto"})


Count = Annotated[Annotated[int, Field(strict=True, ge=1)] | None, BeforeValidator(_none_if_auto)]
Factor = Annotated[Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None, BeforeValidator(_none_if_auto)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HyperparametersIn(_Strict):
    """Of the teacher, which is what learns from the examples. `auto`: the preset's."""

    n_epochs: Annotated[Count, _number({"minimum": 1, "maximum": 200}, "integer")] = None
    batch_size: Annotated[Count, _number({"minimum": 1, "maximum": 1024}, "integer")] = None
    learning_rate_multiplier: Annotated[Factor, _number({"exclusiveMinimum": 0, "maximum": 100}, "number")] = None


class SupervisedIn(_Strict):
    hyperparameters: HyperparametersIn | None = None


class MethodIn(_Strict):
    type: str = Field(json_schema_extra={"enum": ["supervised"]})
    supervised: SupervisedIn | None = None
    dpo: Any = Field(None, description="Not offered.", json_schema_extra={"type": "null"})
    reinforcement: Any = Field(None, description="Not offered.", json_schema_extra={"type": "null"})


Tag = Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")]
TagValue = Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")]


class CreateJob(_Strict):
    model: str = Field(description="A preset.", json_schema_extra={"enum": list(PRESETS)})
    training_file: str = Field(description="`file-...`")
    validation_file: str | None = Field(None, description="What the student is scored on; without it, a part of the examples is held out.")
    suffix: Annotated[str, Field(max_length=64)] | None = Field(None, description="The student's name.")
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)] | None = Field(None, description="Of every stage.")
    hyperparameters: HyperparametersIn | None = Field(None, description="As in `method`, where newer clients have them.")
    method: MethodIn | None = None
    metadata: Annotated[dict[Tag, TagValue], Field(max_length=16)] | None = None
    integrations: Annotated[list[Any], Field(json_schema_extra={"maxItems": 0})] | None = Field(None, description="There are none.")
    spec: dict[str, Any] | None = Field(None, description="Not of OpenAI's API: overrides of any field of the preset, as in POST /jobs.")


def job_spec(body: CreateJob) -> JobSpec:
    """The preset with hyperparameters and seed laid over it. Raises `ServiceError` 400 that names the parameter."""
    if body.model not in PRESETS:
        remedy = f"The models are {', '.join(PRESETS)}: presets, see GET /presets. A finished student cannot be trained further."
        raise refusal("model", f"The model {body.model[:100]!r} cannot be fine-tuned.", remedy, code="model_not_available")
    if body.integrations:
        raise refusal("integrations", "There are no integrations.", "Leave them out; GET /metrics and webhooks tell what happens.")
    preset, given = PRESETS[body.model], _hyperparameters(body)
    overrides: dict[str, Any] = {}
    if body.seed is not None:
        parts = type(preset).model_fields
        overrides = {part: {"seed": body.seed} for part in parts if "seed" in type(getattr(preset, part)).model_fields}
    rate = given.learning_rate_multiplier and given.learning_rate_multiplier * preset.teacher.learning_rate
    teacher = {"epochs": given.n_epochs, "batch_size": given.batch_size, "learning_rate": rate}
    overrides["teacher"] = {**overrides.get("teacher", {}), **{name: value for name, value in teacher.items() if value is not None}}
    for part, fields in (body.spec or {}).items():
        overrides[part] = {**overrides.get(part, {}), **fields} if isinstance(fields, dict) else fields
    try:
        return checked_spec(body.model, overrides)
    except ServiceError as error:
        for fault in error.problem.errors:
            name = _OF_TEACHER.get(fault.column or "")
            if name is not None and getattr(given, name) is not None:
                fault.column = f"{_WHERE}.{name}"
        raise


def _hyperparameters(body: CreateJob) -> HyperparametersIn:
    method = body.method
    if method is not None and method.type != "supervised":
        remedy = "Labelled examples are supervised: {'type': 'supervised'}."
        raise refusal("method.type", f"There is no method {method.type[:60]!r} here.", remedy, code="unsupported_method")
    newer = method.supervised.hyperparameters if method and method.supervised else None
    if newer is not None and body.hyperparameters is not None:
        raise refusal("hyperparameters", f"They are sent together with {_WHERE}.", "Send one of the two.")
    return newer or body.hyperparameters or HyperparametersIn()
