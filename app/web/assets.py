"""The pages' style sheets and scripts, each at an address that holds a hash of them all: browsers keep them for good."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from app.principals import needs

FOLDER = Path(__file__).parent / "static"
_FOR_GOOD = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

router = APIRouter(prefix="/ui/static", include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Assets:
    files: dict[str, bytes]
    digest: str


@lru_cache
def assets() -> Assets:
    """All of them, read once. One digest for all, so that a module's relative import of another is of the same age."""
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _TYPES}
    hashed = hashlib.sha256()
    for name, content in files.items():
        hashed.update(f"{name}\0{len(content)}\0".encode() + content)
    return Assets(files, hashed.hexdigest()[:12])


def static(name: str) -> str:
    """The address of a file in `static/`. Raises `KeyError` if there is none, so that no page links to nothing."""
    found = assets()
    if name not in found.files:
        raise KeyError(name)
    return f"/ui/static/{found.digest}/{name}"


@router.get("/{digest}/{name}")
@needs("public")
def get_static(digest: str, name: str) -> Response:
    """A page from before an update asks with the old digest: it gets the new file, which is then not kept."""
    found = assets()
    if name not in found.files:
        raise HTTPException(404)
    kind = _TYPES[Path(name).suffix]
    caching = _FOR_GOOD if digest == found.digest else "no-cache"
    return Response(found.files[name], media_type=kind, headers={"Cache-Control": caching, "X-Content-Type-Options": "nosniff"})
