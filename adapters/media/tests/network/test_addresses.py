from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis.strategies import ip_addresses

from framegate.core.errors import ConfigError
from framegate.media.network.addresses import DialPolicy, Refusal, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_address_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert DialPolicy().refusal("some.example", address, 443) is Refusal.ADDRESS


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::101:101"],
)
def test_address_is_public(address: str) -> None:
    assert is_public(ip_address(address))
    assert DialPolicy().refusal("some.example", address, 80) is None


@given(ip_addresses())
def test_nothing_private_counts_as_public(address: IPv4Address | IPv6Address) -> None:
    if is_public(address):
        assert not (address.is_private and not address.is_global)
        assert not address.is_multicast
        assert not address.is_loopback
        assert not address.is_link_local


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8080])
def test_ports_other_than_the_web_are_closed(port: int) -> None:
    assert DialPolicy().refusal("some.example", "1.1.1.1", port) is Refusal.PORT


def test_networks_and_addresses_open_any_port() -> None:
    policy = DialPolicy(["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"])
    for address in ("10.255.0.1", "127.0.0.1", "::ffff:127.0.0.1", "::1", "fd12::5"):
        assert policy.refusal("any.example", address, 9000) is None
    assert policy.refusal("any.example", "127.0.0.2", 80) is Refusal.ADDRESS
    assert policy.refusal("any.example", "192.168.0.1", 80) is Refusal.ADDRESS
    assert policy.refusal("any.example", "1.1.1.1", 9000) is Refusal.PORT


def test_host_names_open_whatever_they_resolve_to() -> None:
    policy = DialPolicy(["Images.Internal."])
    assert policy.refusal("images.internal", "10.0.0.1", 9000) is None
    assert policy.refusal("IMAGES.internal.", "10.0.0.1", 9000) is None
    assert policy.refusal("other.images.internal", "10.0.0.1", 80) is Refusal.ADDRESS


@pytest.mark.parametrize(
    "entry", ["http://images.internal", "images.internal:80", "a/b", "", "10.0.0.0/99", "*"]
)
def test_unclear_entries_are_a_config_error(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"^fetch\.allow\[\d\]: "):
        DialPolicy([entry])
