"""Where a message may go: never to an address that only this service's own network reaches, unless the settings allow it.

A name is resolved once, each of its addresses is checked, and the caller connects to one of these and not to the name; so a name that means
something else a moment later (DNS rebinding) gains nothing. The ranges are those of IANA's registries of special-purpose addresses, written
down here, as Python's `is_global` differs between its versions.
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from app.config import WebhookSettings

Address = IPv4Address | IPv6Address

_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Of global unicast: Teredo and its like, documentation, 6to4.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_METADATA = {
    ip_address(address)
    for address in ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
}
"""Of clouds' own services, which hand out credentials: not to be allowed by a network that happens to hold them."""
_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class AddressRefused(Exception):
    """No message may go there."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail, self.remedy = detail, remedy


async def checked_addresses(url: str, settings: WebhookSettings) -> list[Address]:
    """All addresses of the URL's host, in the resolver's order. Raises `AddressRefused` if one of them may not be connected to."""
    parsed = checked_url(url)
    addresses = await _resolved(parsed, settings.connect_seconds)
    plain = [_plain(address) for address in addresses]
    for address in plain:
        _check(address, parsed.host, settings)
    if parsed.scheme == "http" and not settings.allow_http and not all(_within(address, _LOOPBACK) for address in plain):
        remedy = "Use https, or allow http (setting GENDISTIL_WEBHOOKS__ALLOW_HTTP)."
        raise AddressRefused("The address has no TLS: everybody on the way could read and change the messages.", remedy)
    return addresses


def checked_url(url: str) -> httpx.URL:
    """Raises `AddressRefused` for what is no address with a host, or holds what would not be sent, or should not be stored."""
    remedy = "Send an address like https://example.com/hooks/gendistil."
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, 443 if parsed.port is None else parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(f"That is no address: {error}.", remedy) from None
    if parsed.scheme not in {"http", "https"} or not host or not 1 <= port <= 65535:
        raise AddressRefused("That is no http or https address with a host.", remedy)
    if parsed.userinfo or parsed.fragment:
        raise AddressRefused("The address has a password or a fragment, which are not sent.", f"{remedy} Receivers check the signature.")
    return parsed


async def _resolved(url: httpx.URL, seconds: float) -> list[Address]:
    host = url.raw_host.decode()
    remedy = "Check the name, and that this machine can resolve it."
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, url.port or url.scheme, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise AddressRefused(f"The name {host} was not resolved within {seconds:g} s.", remedy) from None
    except (OSError, UnicodeError) as error:
        raise AddressRefused(f"The name {host} cannot be resolved: {getattr(error, 'strerror', None) or error}.", remedy) from None
    return list(dict.fromkeys(ip_address(str(info[4][0])) for info in found))


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _check(address: Address, host: str, settings: WebhookSettings) -> None:
    meant = str(address) if host == str(address) else f"{host} is {address}, which"
    if address in _METADATA:
        raise AddressRefused(f"{meant} is a cloud's own service.", "Send the address of a receiver.")
    public = isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST
    if (public and not _within(address, _NOT_PUBLIC)) or _within(address, settings.allowed_networks):
        return
    remedy = "Use a public address, or allow its network (setting GENDISTIL_WEBHOOKS__ALLOWED_NETWORKS)."
    raise AddressRefused(f"{meant} is no public address.", remedy)


def _within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
