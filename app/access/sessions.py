"""The session of a browser: a signed cookie that names the key somebody has logged in with."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.datastructures import Headers

COOKIE = "gendistil_session"
SESSION_SECONDS = 12 * 3600
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class Sessions:
    """`secret`: shared by all processes that serve the same page."""

    def __init__(self, secret: str) -> None:
        self._signer = URLSafeTimedSerializer(secret, salt="gendistil session")

    def cookie(self, prefix: str) -> str:
        """Of the key with this prefix."""
        return self._signer.dumps({"key": prefix})

    def prefix(self, cookie: str) -> str | None:
        """None of a cookie that was not made here, or too long ago."""
        try:
            found: Any = self._signer.loads(cookie, max_age=SESSION_SECONDS)
        except BadData:
            return None
        return str(found.get("key")) if isinstance(found, dict) else None


def session_secret(configured: str, data_dir: Path) -> str:
    """The configured one, or one of this data folder's own, made once and readable by its owner alone."""
    if configured:
        return configured
    path = data_dir / "session.secret"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=data_dir, prefix=".secret") as file:  # of mode 0600
            file.write(secrets.token_urlsafe(32))
            file.flush()
            # Whole from its first moment on, and the first of several processes wins.
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text()


def from_another_site(headers: Headers) -> bool:
    """Whether a browser says that a page of another site sent the request. Programs say nothing of the kind."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def same_origin(headers: Headers) -> bool:
    """Whether a page of this service sent the request, which changes something: by the browser's own word.

    Fetch Metadata (https://www.w3.org/TR/fetch-metadata/), else the Origin header against Host. What has neither is refused: every
    browser of today sends Origin with a POST.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin, host = headers.get("origin"), headers.get("host")
    return bool(origin and host) and urlsplit(str(origin)).netloc == host
