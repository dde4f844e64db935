"""The caller's preset and overrides, turned into a spec or into an error that names field, allowed values and remedy."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from app.config import get_settings
from app.contracts.models import EMBEDDED_MODELS, EMBEDDED_PREFIX, embedded_model, is_allowed
from app.contracts.presets import PRESETS, resolve_spec
from app.contracts.spec import JobSpec
from app.errors import FieldError, ServiceError

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(@[\w./-]+)?", re.ASCII)
_LOCAL_PATH = re.compile(r"(~|\.{1,2})?/[^\x00-\x1f]+")
_BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "up to {}", "exclusiveMaximum": "below {}"}


def checked_spec(preset: str, overrides: dict[str, Any]) -> JobSpec:
    """The complete spec. Raises `ServiceError` 422 that names every fault by its path, as in `spec.distil.alpha`."""
    if preset not in PRESETS:
        remedy = f"Allowed: {', '.join(PRESETS)}. GET /presets shows them."
        error = FieldError(column="preset", detail=f"there is no preset {_short(preset)}", remedy=remedy)
        raise _refusal("unknown-preset", [error])
    try:
        spec = resolve_spec(preset, overrides)
    except ValidationError as error:
        faults = error.errors()
        found = [
            FieldError(column=".".join(["spec", *map(str, f["loc"])]), detail=f["msg"], remedy=_remedy(f["loc"], f["type"])) for f in faults
        ]
        raise _refusal("invalid-spec", found) from None
    references = {"spec.teacher.model": ("teacher", spec.teacher.model), "spec.generator.model": ("generator", spec.generator.model)}
    found = [fault for field, (role, reference) in references.items() if (fault := _model_fault(field, role, reference))]
    if found:
        raise _refusal("unknown-model", found)
    presets = (model for known in PRESETS.values() for model in (known.teacher.model, known.generator.model))
    allowed = [f"{EMBEDDED_PREFIX}*", *presets, *get_settings().models]
    if forbidden := [_forbidden(field, reference) for field, (_, reference) in references.items() if not is_allowed(reference, allowed)]:
        raise _refusal("model-not-allowed", forbidden)
    return spec


def _refusal(type: str, errors: list[FieldError]) -> ServiceError:
    detail = "; ".join(f"{error.column}: {error.detail}" for error in errors[:3])
    return ServiceError(422, type, detail, remedy=errors[0].remedy, errors=errors, errors_total=len(errors))


def _remedy(path: tuple[int | str, ...], kind: str) -> str:
    """What the field at `path` of a spec may hold, or the fields there are."""
    if kind == "value_error":  # of two fields that exclude each other
        return "Change one of the two fields."
    part: type[BaseModel] = JobSpec
    where = "spec"
    for name in path:
        field = part.model_fields.get(str(name))
        if field is None:
            return f"Fields of {where}: {', '.join(part.model_fields)}."
        where = f"{where}.{name}"
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return f"Allowed: {_allowed(part.model_json_schema()['properties'][str(name)])}."
        part = field.annotation
    return f"Give an object with some of the fields: {', '.join(part.model_fields)}." if kind != "extra_forbidden" else f"Remove {where}."


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    what = {"integer": "a whole number", "number": "a number", "string": "a string"}.get(schema.get("type", ""), "see /docs")
    return " ".join([what, *(text.format(f"{schema[bound]:,}") for bound, text in _BOUNDS.items() if bound in schema)])


def _model_fault(field: str, role: str, reference: str) -> FieldError | None:
    known = ", ".join(f"{EMBEDDED_PREFIX}{name}" for name, model in EMBEDDED_MODELS.items() if model.role == role)
    remedy = f"Allowed: {known}; a hub id (owner/name or owner/name@revision); a local folder (/path or ./path)."
    if reference.startswith(EMBEDDED_PREFIX):
        model = embedded_model(reference)
        if model is None:
            return FieldError(column=field, detail=f"there is no embedded model {_short(reference)}", remedy=remedy)
        if model.role != role:
            return FieldError(column=field, detail=f"{reference} is a {model.role}, not a {role}", remedy=remedy)
        return None
    if _HUB_ID.fullmatch(reference) or _LOCAL_PATH.fullmatch(reference):
        return None
    return FieldError(column=field, detail=f"{_short(reference)} is no model reference", remedy=remedy)


def _forbidden(field: str, reference: str) -> FieldError:
    remedy = "Take an embedded: model, or let whoever runs the service allow it (setting GENDISTIL_MODELS)."
    return FieldError(column=field, detail=f"{_short(reference)} is not among the models that this service loads", remedy=remedy)


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:77]}...")
