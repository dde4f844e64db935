"""Where messages may go."""

import asyncio
from typing import Any

import pytest

from app.config import WebhookSettings
from app.webhooks.addresses import AddressRefused, checked_addresses
from tests.app.webhooks.names import Names


def check(url: str, **settings: Any) -> list[str]:
    return [str(address) for address in asyncio.run(checked_addresses(url, WebhookSettings(**settings)))]


def refused(url: str, **settings: Any) -> str:
    with pytest.raises(AddressRefused) as error:
        check(url, **settings)
    assert error.value.remedy
    return error.value.detail


@pytest.mark.parametrize("host", ["93.184.216.34", "8.8.8.8", "172.32.0.1", "[2606:4700::1111]", "[64:ff9b::808:808]", "[::ffff:8.8.8.8]"])
def test_public_addresses(host: str) -> None:
    assert len(check(f"https://{host}/hook")) == 1


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1", "100.64.0.1"),
        *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[fc00::1]", "[fd12::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[2001::1]", "[100::1]"),
        # IPv4 in IPv6: mapped, NAT64, 6to4, compatible.
        *("[::ffff:10.0.0.1]", "[::ffff:127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b::7f00:1]", "[2002:a00:1::1]", "[::10.0.0.1]"),
        # As the C library reads numbers.
        *("2130706433", "0x7f.1", "127.1", "0177.0.0.1"),
        *("169.254.169.254", "168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"),
    ],
)
def test_what_is_not_public(host: str) -> None:
    assert refused(f"https://{host}/hook")


def test_a_name_of_this_machine() -> None:
    assert "localhost is " in refused("https://localhost/hook")


def test_one_address_that_is_not_public_is_enough(names: Names) -> None:
    names.answers["two.test"] = [["8.8.8.8", "10.0.0.1"]]
    assert "10.0.0.1" in refused("https://two.test/hook")
    names.answers["two.test"] = [["8.8.8.8", "2606:4700::1111"]]
    assert check("https://two.test/hook") == ["8.8.8.8", "2606:4700::1111"]


def test_networks_of_ones_own() -> None:
    own = ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8"]
    assert check("https://10.1.2.3/hook", allowed_networks=own) == ["10.1.2.3"]
    assert check("https://[fd12::1]/hook", allowed_networks=own) == ["fd12::1"]
    assert check("https://[::ffff:10.1.2.3]/hook", allowed_networks=own)
    assert refused("https://192.168.1.1/hook", allowed_networks=own)
    assert "cloud" in refused("https://169.254.169.254/hook", allowed_networks=["0.0.0.0/0"])
    assert "cloud" in refused("https://[fd00:ec2::254]/hook", allowed_networks=own)


def test_without_tls() -> None:
    assert "TLS" in refused("http://8.8.8.8/hook")
    assert check("http://8.8.8.8/hook", allow_http=True) == ["8.8.8.8"]
    assert "TLS" in refused("http://10.1.2.3/hook", allowed_networks=["10.0.0.0/8"])
    assert check("http://127.0.0.1:9/hook", allowed_networks=["127.0.0.0/8"]) == ["127.0.0.1"]
    assert refused("http://127.0.0.1:9/hook", allow_http=True)


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://8.8.8.8/hook", "https:///hook", "https://", "8.8.8.8/hook", "https://8.8.8.8:0/", "https://8.8.8.8:99999/"),
        *("https://user:word@8.8.8.8/", "https://8.8.8.8/#part", "https://[8.8.8.8]/", "https://a b/", "https://xn--/", "https://[/"),
        *(f"https://{'a' * 70}.test/", "https://8.8.8.8/\n", "https://./"),
    ],
)
def test_what_is_no_address(url: str) -> None:
    assert refused(url)


def test_a_name_that_is_not_there() -> None:
    assert "cannot be resolved" in refused("https://nowhere.invalid/hook", connect_seconds=60)


def test_a_name_server_that_takes_long(names: Names) -> None:
    names.answers["slow.test"] = [["8.8.8.8"]]
    names.seconds = 0.5
    assert "not resolved within 0.05 s" in refused("https://slow.test/hook", connect_seconds=0.05)
