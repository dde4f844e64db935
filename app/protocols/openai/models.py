"""Models: the versions of students, which answer, and the presets, which can be fine-tuned."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contracts.presets import PRESETS
from app.database import ReadSessionDep
from app.errors import ServiceError
from app.predictions.predictor import Predictor
from app.protocols.openai.errors import OpenAiRoute, errors, no_such_model, refusal
from app.protocols.openai.names import ORGANIZATION, fine_tuned_name, reference_of
from app.storage import get_storage
from app.students.deletion import delete_version
from app.students.service import find_student
from app.tables import Student

router = APIRouter(prefix="/models", route_class=OpenAiRoute)

ModelId = Annotated[str, Path(description="`ft:...`, a preset, or a student's `name`, `name@alias` or `name:version`.")]
_NO_MODEL = "There is no such model."


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since 1970, UTC; 0 of a preset.")
    owned_by: str = ORGANIZATION


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ModelDeleted(BaseModel):
    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True


@router.get("", responses=errors())
def list_models(session: ReadSessionDep) -> ModelList:
    """Presets, then all versions of all students, the newest first."""
    columns = select(Student.kind, Student.name, Student.version, Student.created_at).order_by(Student.created_at.desc(), Student.id.desc())
    students = [
        Model(id=fine_tuned_name(kind, name, version), created=int(at.timestamp())) for kind, name, version, at in session.execute(columns)
    ]
    return ModelList(data=[*(Model(id=name, created=0) for name in PRESETS), *students])


@router.get("/{model}", responses=errors(_404=_NO_MODEL))
def retrieve_model(model: ModelId, session: ReadSessionDep) -> Model:
    """A version by its own name, whichever way it was asked for."""
    try:
        student = _find(session, model)
    except ServiceError:
        if model in PRESETS:
            return Model(id=model, created=0)
        raise
    return Model(id=fine_tuned_name(student.kind, student.name, student.version), created=int(student.created_at.timestamp()))


@router.delete("/{model}", responses=errors(_400="It names no single version.", _404=_NO_MODEL, _409="An alias points at it."))
async def delete_model(model: ModelId, request: Request) -> ModelDeleted:
    """Removes the version for good. Only by a name that means no other version tomorrow."""
    name, _, version = reference_of(model).partition(":")
    if not version:
        raise refusal("model", f"{model[:100]!r} is not one version.", "Name it as `ft:...` or `name:version`; GET /v1/models lists them.")
    await run_in_threadpool(delete_version, name, int(version), get_storage())
    predictor: Predictor = request.app.state.predictor
    await predictor.follow()
    return ModelDeleted(id=model)


def _find(session: Session, model: str) -> Student:
    try:
        return find_student(session, reference_of(model))
    except ServiceError as error:
        if error.problem.status == 404:
            raise no_such_model(model) from None
        raise
