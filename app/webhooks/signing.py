"""Secrets and signatures by the Standard Webhooks specification (https://www.standardwebhooks.com), version 1.0, symmetric keys."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> str:
    """256 random bits, as receivers write them down."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(keys: list[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt; `timestamp` in seconds since 1970. One signature by each of `keys`, of which receivers know one."""
    content = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(key, content)}" for key in keys),
    }


def _signature(key: str, content: bytes) -> str:
    digest = hmac.new(base64.b64decode(key.removeprefix(PREFIX)), content, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()
