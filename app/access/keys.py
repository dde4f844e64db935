"""What an API key is made of.

`gd_<prefix>_<secret>`: the prefix finds its row and is shown in lists, the secret has 256 random bits. Only the SHA-256 of the whole is
stored: a slow hash is for passwords, which can be guessed.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_FORMAT = re.compile(r"gd_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
SHOWN_AS = "gd_<12 hexadecimal digits>_<43 letters and digits>"


@dataclass(frozen=True)
class NewKey:
    """`text` is what the caller gets to see once."""

    prefix: str
    text: str
    digest: str


def make_key() -> NewKey:
    prefix = secrets.token_hex(6)
    text = f"gd_{prefix}_{secrets.token_urlsafe(32)}"
    return NewKey(prefix, text, digest_of(text))


def prefix_of(text: str) -> str | None:
    """None of what is no key."""
    found = _FORMAT.fullmatch(text)
    return found[1] if found else None


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def same(digest: str, text: str) -> bool:
    """In a time that does not depend on where they differ."""
    return hmac.compare_digest(digest, digest_of(text))
