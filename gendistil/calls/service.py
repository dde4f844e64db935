"""The service itself."""

from gendistil.models import Catalogue, Collection, Preset, Readiness
from gendistil.steps import Flow, fetched


def ready() -> Flow[Readiness]:
    """Whether database, Redis and blob store answer. Raises `GendistilError` with status 503 if one does not."""
    return fetched(Readiness, "GET", "/readyz")


def catalogue() -> Flow[Catalogue]:
    """The presets, and the kinds of students."""
    return fetched(Catalogue, "GET", "/presets")


def presets() -> Flow[list[Preset]]:
    return (yield from catalogue()).presets


def collect_garbage(*, dry_run: bool = False) -> Flow[Collection]:
    """Removes what no dataset, job or student uses; with `dry_run` only tells what that is."""
    return fetched(Collection, "POST", "/maintenance/gc", params={"dry_run": dry_run})
