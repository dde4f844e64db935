"""One attempt to deliver a message: a POST, and what came of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import httpx

from app.config import WebhookSettings
from app.webhooks.addresses import Address, AddressRefused, checked_addresses

ANSWER_BYTES = 500
ANSWER_SECONDS = 2.0
"""For the answer's body, of which only the beginning is read; the status is what counts."""
_MAX_ADDRESSES = 4
_LONGEST_RETRY_AFTER = 86_400


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error`: `{"type", "detail"}`, null of what was delivered. `retry_after`: seconds that the receiver asked for."""

    status_code: int | None = None
    answer: str | None = None
    error: dict[str, Any] | None = None
    retry_after: float = 0.0


async def attempt(url: str, body: bytes, headers: dict[str, str], settings: WebhookSettings) -> Outcome:
    """Sends the message once. Redirects are not followed, proxies and cookies not used. Never raises for what a receiver does."""
    try:
        async with asyncio.timeout(settings.total_seconds) as limit:
            addresses = await checked_addresses(url, settings)
            async with _answered(httpx.URL(url), addresses, body, headers, settings) as response:
                limit.reschedule(None)
                return _outcome(response, await _beginning(response))
    except TimeoutError:
        return _failed("timeout", f"No answer within {settings.total_seconds:g} s.")
    except AddressRefused as error:
        return _failed("address-refused", f"{error.detail} {error.remedy}")
    except httpx.TimeoutException as error:
        return _failed("timeout", f"No connection within {settings.connect_seconds:g} s ({type(error).__name__}).")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kind = "tls" if isinstance(error.__context__ and error.__context__.__context__, ssl.SSLError) else "connection"
        return _failed(kind, str(error) or type(error).__name__)


@asynccontextmanager
async def _answered(
    url: httpx.URL, addresses: Sequence[Address], body: bytes, headers: dict[str, str], settings: WebhookSettings
) -> AsyncIterator[httpx.Response]:
    """The answer of the first address that accepts a connection: to the checked address itself, under the name's certificate and host."""
    timeout = httpx.Timeout(settings.total_seconds, connect=settings.connect_seconds)
    transport = httpx.AsyncHTTPTransport(verify=_tls())
    sent = {
        **headers,
        "Host": url.netloc.decode(),
        "Content-Type": "application/json",
        "User-Agent": f"gendistil/{version('gendistil')}",
        "Accept-Encoding": "identity",
    }
    extensions = {"sni_hostname": url.raw_host.decode()}
    async with httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False) as client:
        for number, address in enumerate(addresses[:_MAX_ADDRESSES], 1):
            request = client.build_request("POST", url.copy_with(host=str(address)), content=body, headers=sent, extensions=extensions)
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == min(len(addresses), _MAX_ADDRESSES):
                    raise
                continue
            try:
                yield response
            finally:
                await response.aclose()
            return


async def _beginning(response: httpx.Response) -> str:
    """Of the body, as it came. PostgreSQL stores no NUL."""
    content = b""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            async for chunk in response.aiter_raw():
                content += chunk[:ANSWER_BYTES]
                if len(content) >= ANSWER_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # the status has arrived
    return content[:ANSWER_BYTES].decode(errors="replace").replace("\0", "\ufffd")


def _outcome(response: httpx.Response, answer: str) -> Outcome:
    status = response.status_code
    if response.is_success:
        return Outcome(status, answer)
    if response.is_redirect:
        error = {"type": "redirect", "detail": f"The receiver answered {status} with a redirect, which is not followed."}
    else:
        error = {"type": "refused", "detail": f"The receiver answered {status}."}
    wanted = response.headers.get("retry-after", "")
    # float: int refuses a number of thousands of digits.
    retry_after = min(float(wanted), _LONGEST_RETRY_AFTER) if status in {429, 503} and wanted.isascii() and wanted.isdigit() else 0.0
    return Outcome(status, answer, error, retry_after)


def _failed(kind: str, detail: str) -> Outcome:
    return Outcome(error={"type": kind, "detail": detail[:500]})


@lru_cache
def _tls() -> ssl.SSLContext:
    """Trusts public authorities, or those of `SSL_CERT_FILE`."""
    return httpx.create_ssl_context()
