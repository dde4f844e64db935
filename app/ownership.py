"""Which project a piece of work is for. It sees and makes that one's rows alone, unless it says that it is for all projects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import String, event
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, declared_attr, mapped_column, with_loader_criteria

from app.contracts.projects import DEFAULT_PROJECT

_project: ContextVar[str] = ContextVar("project", default=DEFAULT_PROJECT)
_every: ContextVar[bool] = ContextVar("every_project", default=False)


def current_project() -> str:
    """Of the request or the stage at hand."""
    return _project.get()


def enter_project(project_id: str) -> None:
    """From here to the end of the context: of a request, say."""
    _project.set(project_id)


@contextmanager
def in_project(project_id: str) -> Iterator[None]:
    project, every = _project.set(project_id), _every.set(False)
    try:
        yield
    finally:
        _every.reset(every)
        _project.reset(project)


@contextmanager
def every_project() -> Iterator[None]:
    """For the service's own work: rows of all projects. What is added says itself whose it is. Also decorates functions."""
    every = _every.set(True)
    try:
        yield
    finally:
        _every.reset(every)


def _owner() -> str:
    if _every.get():
        raise LookupError("whose row is it? work for every project has to say so")
    return _project.get()


class Owned:
    """A row of one project. Where `primary` is set, names of different projects may be the same."""

    primary = False

    @declared_attr
    def project_id(cls) -> Mapped[str]:
        return mapped_column(String(40), primary_key=cls.primary, default=_owner, server_default=DEFAULT_PROJECT, sort_order=-1)


@event.listens_for(Session, "do_orm_execute")
def _restrict(state: ORMExecuteState) -> None:
    """Here, and in no query, so that none can forget it."""
    if _every.get() or state.is_column_load or not (state.is_select or state.is_update or state.is_delete):
        return
    project = _project.get()
    mine: Callable[[type[Owned]], object] = lambda row: row.project_id == project  # noqa: E731  # a lambda, so that SQLAlchemy can cache it
    state.statement = state.statement.options(with_loader_criteria(Owned, mine, include_aliases=True, propagate_to_loaders=False))  # type: ignore[arg-type]  # of a mixin
