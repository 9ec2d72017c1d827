"""Who is calling: how much of a chain of proxies is believed."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from app.api.request_context import client_of
from app.settings.trusted_proxies import TrustedProxies

PEER = "198.51.100.9"
PRIVATE = TrustedProxies.parse("10.0.0.0/8,fd00::/8")


@pytest.mark.parametrize(
    ("value", "trusted"),
    [
        *((0, TrustedProxies()), ("0", TrustedProxies()), (False, TrustedProxies()), ("", TrustedProxies())),
        *(("no", TrustedProxies()), ("False", TrustedProxies())),
        *((True, TrustedProxies(1)), ("true", TrustedProxies(1)), ("On", TrustedProxies(1))),
        *((2, TrustedProxies(2)), (" 2 ", TrustedProxies(2)), (PRIVATE, PRIVATE)),
        ("10.0.0.0/8, fd00::/8", PRIVATE),
        (["10.0.0.0/8", "fd00::/8"], PRIVATE),
        ("10.1.2.3/8", TrustedProxies(networks=(ipaddress.ip_network("10.0.0.0/8"),))),
        ("::ffff:10.0.0.0/104", TrustedProxies(networks=(ipaddress.ip_network("10.0.0.0/8"),))),
        ("::ffff:192.0.2.1", TrustedProxies(networks=(ipaddress.ip_network("192.0.2.1/32"),))),
        ("::/0", TrustedProxies(networks=(ipaddress.ip_network("::/0"),))),
        ("192.0.2.1", TrustedProxies(networks=(ipaddress.ip_network("192.0.2.1/32"),))),
    ],
)
def test_a_number_a_truth_value_or_networks_say_who_is_trusted(
    value: object, trusted: TrustedProxies
) -> None:
    assert TrustedProxies.parse(value) == trusted
    assert TrustedProxies.parse(str(trusted)) == trusted


@pytest.mark.parametrize(
    "value", [-1, "-1", "--1", "²", 11, "maybe", "10.0.0.0/99", "10.0.0.0/8,nginx", 1.5, {}]
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="number of proxies"):
        TrustedProxies.parse(value)


def test_without_a_trusted_proxy_no_header_is_believed() -> None:
    assert TrustedProxies().client_of(PEER, "192.0.2.1") == PEER


@pytest.mark.parametrize(
    ("hops", "client"),
    [(1, "192.0.2.3"), (2, "192.0.2.2"), (3, "192.0.2.1"), (4, "192.0.2.1")],
)
def test_as_many_entries_are_believed_as_there_are_proxies(hops: int, client: str) -> None:
    assert TrustedProxies(hops).client_of(PEER, "192.0.2.1, 192.0.2.2, 192.0.2.3") == client


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        pytest.param("10.0.0.1", "192.0.2.1", "192.0.2.1", id="our proxy"),
        pytest.param("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1", id="two of our proxies"),
        pytest.param("10.0.0.1", "192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1", id="our proxy in IPv6 clothes"),
        pytest.param("fd00::1", "2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param(PEER, "192.0.2.1", PEER, id="a stranger's claim"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("testclient", "192.0.2.1", "testclient", id="a peer without an IP address"),
    ],
)
def test_entries_are_believed_as_far_as_our_networks_wrote_them(peer: str, chain: str, client: str) -> None:
    assert PRIVATE.client_of(peer, chain) == client


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:4711", "192.0.2.1"),
        ("192.0.2.1, ,", "192.0.2.1"),
        (",192.0.2.1,\t", "192.0.2.1"),
        (" , ", PEER),
        ("unknown", PEER),
        ("_hidden", PEER),
        ("::1%é", PEER),
        ("fe80::1%eth0", PEER),
        ("[fe80::1%25eth0]:4711", PEER),
        ("192.0.2.1%0", PEER),
        ("", PEER),
        ("192.0.2.1\r\nX-Evil: 1", PEER),
    ],
)
def test_a_port_is_cut_off_and_what_is_no_address_ends_the_walk(entry: str, client: str) -> None:
    assert TrustedProxies(1).client_of(PEER, entry) == client


@given(st.text(), st.integers(0, 10))
def test_no_header_whatever_gives_anything_but_an_address(chain: str, hops: int) -> None:
    client = TrustedProxies(hops).client_of(PEER, chain)
    ipaddress.ip_address(client)
    assert client.isascii()
    assert "%" not in client


@given(st.text("0123456789abcdef:.[]%é, "))
def test_no_header_that_looks_like_addresses_gives_anything_but_one(chain: str) -> None:
    client = TrustedProxies(3).client_of(PEER, chain)
    ipaddress.ip_address(client)
    assert client.isascii()
    assert "%" not in client


def test_several_headers_are_one_chain() -> None:
    headers = [(b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-for", b"192.0.2.2, 10.0.0.2")]
    scope: Scope = {"type": "http", "client": ("10.0.0.1", 4711), "headers": headers}
    assert client_of(scope, PRIVATE) == "192.0.2.2"


def test_a_caller_on_a_link_local_address_has_no_zone() -> None:
    scope: Scope = {"type": "http", "client": ("fe80::1%eth0", 4711), "headers": []}
    assert client_of(scope, TrustedProxies()) == "fe80::1"
    assert client_of(scope, TrustedProxies(1)) == "fe80::1"


@pytest.mark.parametrize(
    ("peer", "trusted", "client"),
    [
        ("::ffff:192.0.2.9", TrustedProxies(), "192.0.2.9"),
        ("::ffff:192.0.2.9", PRIVATE, "192.0.2.9"),
        ("::ffff:10.0.0.1", PRIVATE, "192.0.2.2"),
    ],
)
def test_an_ipv4_caller_of_a_socket_of_both_families_is_the_same_caller(
    peer: str, trusted: TrustedProxies, client: str
) -> None:
    scope: Scope = {
        "type": "http",
        "client": (peer, 4711),
        "headers": [(b"x-forwarded-for", b"192.0.2.2")],
    }
    assert client_of(scope, trusted) == client


def test_a_caller_on_a_unix_socket_has_no_address() -> None:
    assert client_of({"type": "http", "client": None, "headers": []}, TrustedProxies()) == "0.0.0.0"
