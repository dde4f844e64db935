"""Students: what is published, which version an alias means, how a version does on live texts."""

from pathlib import Path

from gendistil.calls.datasets import read
from gendistil.models import Alias, AliasMove, Drift, PublishedVersion, Shadow, Student
from gendistil.steps import Flow, done, fetched, given, listed, saved

ALIAS = "/students/{name}/aliases/{alias}"


def students(limit: int = 100) -> Flow[list[Student]]:
    """By name."""
    return listed(Student, "/students", limit=limit)


def student(name: str) -> Flow[Student]:
    return fetched(Student, "GET", "/students/{name}", name)


def point_alias(name: str, alias: str, version: int, reason: str | None = None) -> Flow[Alias]:
    """Makes `name@alias` mean a version; `latest` is what a plain name means."""
    return fetched(Alias, "PUT", ALIAS, name, alias, json=given(version=version, reason=reason))


def roll_back(name: str, alias: str = "latest", reason: str | None = None) -> Flow[Alias]:
    """Makes `name@alias` mean the version that it meant before; called again, the one before that."""
    return fetched(Alias, "POST", f"{ALIAS}/rollback", name, alias, json=given(reason=reason))


def alias_history(name: str, alias: str = "latest", limit: int = 20) -> Flow[list[AliasMove]]:
    """Where an alias has pointed, the newest move first."""
    return listed(AliasMove, f"{ALIAS}/history", name, alias, limit=limit)


def delete_alias(name: str, alias: str) -> Flow[None]:
    return done("DELETE", ALIAS, name, alias)


def set_shadow(name: str, version: int, share: float | None = None) -> Flow[Shadow]:
    """Scores a version on a share of the name's live texts (a tenth), without any effect on the answers."""
    return fetched(Shadow, "PUT", "/students/{name}/shadow", name, json=given(version=version, share=share))


def shadow(name: str) -> Flow[Shadow]:
    """How often the shadow has answered as the version that serves."""
    return fetched(Shadow, "GET", "/students/{name}/shadow", name)


def delete_shadow(name: str) -> Flow[None]:
    return done("DELETE", "/students/{name}/shadow", name)


def drift(name: str, version: int, days: int | None = None) -> Flow[Drift]:
    """Whether the live texts of the last days (7) are still such as the version was measured on."""
    route = "/students/{name}/versions/{version}/drift"
    return fetched(Drift, "GET", route, name, str(version), params=given(days=days))


def download(student: str, to: Path = Path()) -> Flow[Path]:
    """Saves a student as a zip that runs without this service: in the folder `to`, or as the file `to`. Returns the file."""
    return saved(to, "/students/{student}/download", student)


def import_student(file: Path, *, name: str | None = None, promote: bool = False) -> Flow[PublishedVersion]:
    """Publishes what `download` saved, here or from another service. `promote` moves `latest` to it."""
    options = {"params": given(name=name, promote=promote), "headers": {"Content-Type": "application/zip"}}
    return fetched(PublishedVersion, "POST", "/students/import", content=read(file), **options)


def delete_student(name: str, version: int | None = None) -> Flow[None]:
    """Removes one version, or the student with all versions and aliases."""
    if version is None:
        return done("DELETE", "/students/{name}", name)
    return done("DELETE", "/students/{name}/versions/{version}", name, str(version))
