"""SFU addresses: their one spelling, and where the gateway does not go."""

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AddressNotAllowed, InvalidField
from app.upstream.addresses import AddressGuard, parse_address, sfu_address

ANYWHERE = AddressGuard()

labels = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
hosts = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://sfu1.example.com:8070", "http://sfu1.example.com:8070"),
        ("HTTP://SFU1.Example.com:8070/", "http://sfu1.example.com:8070"),
        ("http://sfu1:80", "http://sfu1"),
        ("https://sfu1:443", "https://sfu1"),
        ("https://sfu1:80", "https://sfu1:80"),
        ("http://sfu1:", "http://sfu1"),
        ("http://sfu_1.default.svc.cluster.local.:8070", "http://sfu_1.default.svc.cluster.local:8070"),
        ("http://192.0.2.1", "http://192.0.2.1"),
        ("http://[2001:DB8:0::1]:8070", "http://[2001:db8::1]:8070"),
        ("http://[::ffff:10.0.0.1]:8070", "http://10.0.0.1:8070"),
        ("http://[::FFFF:A00:1]", "http://10.0.0.1"),
    ],
)
def test_an_address_has_one_spelling(text: str, canonical: str) -> None:
    assert sfu_address(text) == canonical


@given(st.sampled_from(["http", "https"]), hosts, st.integers(1, 65_535))
def test_the_canonical_spelling_is_its_own(scheme: str, host: str, port: int) -> None:
    address = sfu_address(f"{scheme}://{host}:{port}")
    assert sfu_address(address) == address


@given(st.text() | st.text("htps:/[]@?#%.x0123456789"))
def test_no_text_whatever_is_worse_than_a_wrong_value(text: str) -> None:
    with suppress(ValueError):
        assert sfu_address(text).startswith(("http://", "https://"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "sfu1", "sfu1:8070", "//sfu1", "ftp://sfu1", "ws://sfu1", "file:///etc/passwd", "javascript:x"),
        *("http://", "http://:8070", "http:///path", "http://sfu1/path", "http://sfu1?a=b", "http://sfu1/#x"),
        *("http://sfu1?", "http://sfu1#", "http://user@sfu1", "http://user:password@sfu1", "http://@sfu1"),
        *("http://sfu1:0", "http://sfu1:65536", "http://sfu1:x", "http://sfu1:+80", "http://sfu 1"),
        *("http://sfu1\n", "http://sfu1\\@evil", "http://sfü1", "http://%73fu1", "http://sfu1,sfu2"),
        *("http://[::1", "http://[::1]x", "http://[fe80::1%25eth0]", "http://[v1.x]", "http://::1"),
        *("http://sfu1..", "http://sfu1..example.com", "http://.sfu1", "http://.", "http://" + "x" * 64),
        "http://" + "x" * 249,
    ],
)
def test_what_is_no_base_url_of_an_sfu_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|Port|Invalid"):
        sfu_address(text)


@pytest.mark.parametrize(
    "host",
    [
        *("2852039166", "0xa9fea9fe", "0xA9FEA9FE", "025177524776", "169.254.43518", "169.16689662"),
        *("169.254.169.254.", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.254.169.0xfe", "127.1"),
        *("256.0.0.1", "1.2.3.4.5", "sfu1.0x7f"),
    ],
)
def test_an_ip_address_has_no_other_spelling_than_the_usual_one(host: str) -> None:
    with pytest.raises(ValueError, match="must write an IP address in its usual form"):
        sfu_address(f"http://{host}")


@pytest.mark.parametrize("value", [None, 5, ["http://sfu1"], b"http://sfu1"])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a URL"):
        sfu_address(value)


def test_a_wrong_address_in_a_field_names_the_field() -> None:
    with pytest.raises(InvalidField) as caught:
        parse_address("publicUrl", "sfu1")
    assert caught.value.field == "publicUrl"
    assert caught.value.detail == "publicUrl: must start with http:// or https://"


# The guard

LINK_LOCAL = [
    "169.254.169.254",
    "fe80::1",
    "::ffff:169.254.169.254",
    "2002:a9fe:a9fe::",
    "64:ff9b::a9fe:a9fe",
]
METADATA = [
    *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:100.100.100.200"),
]
NOWHERE = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1", "2002:e000:1::"]
SPECIAL = [
    *("0.1.2.3", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255"),
    *("198.51.100.7", "203.0.113.7", "240.0.0.1", "255.255.255.255"),
    *("::2", "::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::a9fe:a9fe", "::ffff:0:a9fe:a9fe", "::ffff:0:808:808"),
    *("100::1", "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1", "fec0::1", "4000::1"),
    *("64:ff9b::203.0.113.7", "2002:c000:0201::1", "2001:0:1:1:1:1:34ff:8ef8"),
]
ORDINARY = [
    *("127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1", "fd00::1"),
    *("8.8.8.8", "192.0.0.9", "172.32.0.1", "100.128.0.1", "2600::1", "2a00:1450::1", "2001:4860::8888"),
    *("64:ff9b::8.8.8.8", "::ffff:10.0.0.1", "2001:3::1"),
]


@pytest.mark.parametrize("ip", [*LINK_LOCAL, *METADATA, *NOWHERE, *SPECIAL])
def test_the_gateway_connects_to_no_special_purpose_address(ip: str) -> None:
    assert not ANYWHERE.permits(ipaddress.ip_address(ip))


@pytest.mark.parametrize("ip", ORDINARY)
def test_the_gateway_connects_to_public_and_private_addresses(ip: str) -> None:
    assert ANYWHERE.permits(ipaddress.ip_address(ip))


def test_the_operator_can_open_link_local_addresses_and_no_others() -> None:
    guard = AddressGuard(allow_link_local=True)
    assert all(guard.permits(ipaddress.ip_address(ip)) for ip in LINK_LOCAL + METADATA)
    assert not any(guard.permits(ipaddress.ip_address(ip)) for ip in NOWHERE + SPECIAL)


def test_the_operator_says_which_special_purpose_networks_hold_sfus() -> None:
    guard = AddressGuard(networks=[ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("fd00::/8")])
    assert guard.permits(ipaddress.ip_address("192.0.2.7"))
    assert guard.permits(ipaddress.ip_address("8.8.8.8"))
    assert not guard.permits(ipaddress.ip_address("10.0.0.1"))
    assert not guard.permits(ipaddress.ip_address("fd00:ec2::254"))  # the longer prefix decides


@pytest.mark.parametrize(
    ("network", "wrapped"), [("64:ff9b:1::/48", "64:ff9b:1::"), ("::ffff:0:0:0/96", "::ffff:0:")]
)
def test_an_opened_translation_prefix_leads_only_where_ipv4_may(network: str, wrapped: str) -> None:
    guard = AddressGuard(networks=[ipaddress.ip_network(network)])
    assert guard.permits(ipaddress.ip_address(f"{wrapped}808:808"))
    assert not guard.permits(ipaddress.ip_address(f"{wrapped}a9fe:a9fe"))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_that_python_calls_reserved(ip: ipaddress.IPv4Address) -> None:
    if ip.is_reserved or ip.is_multicast or ip.is_link_local:
        assert not ANYWHERE.permits(ip)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_passes_outside_of_unicast_and_private_networks(ip: ipaddress.IPv6Address) -> None:
    is_known = any(
        ip in ipaddress.ip_network(network)
        for network in ("2000::/3", "fc00::/7", "::1/128", "64:ff9b::/96", "::ffff:0:0/96")
    )
    assert is_known or not ANYWHERE.permits(ip)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(ip: ipaddress.IPv4Address) -> None:
    clothes = [f"::ffff:{ip}", f"64:ff9b::{ip}", str(ipaddress.IPv6Address((0x2002 << 112) | int(ip) << 80))]
    assert {ANYWHERE.permits(ipaddress.ip_address(dressed)) for dressed in clothes} == {ANYWHERE.permits(ip)}


@pytest.mark.parametrize("ip", ["169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]", "0.0.0.0"])
def test_an_address_that_is_written_as_a_forbidden_number_cannot_register(ip: str) -> None:
    with pytest.raises(AddressNotAllowed, match="link-local"):
        ANYWHERE.check(sfu_address(f"http://{ip}:8070"))


@pytest.mark.parametrize(
    "name", ["victim.example", "VICTIM.example", "victim.example.", "victim.Example.:80"]
)
def test_a_name_is_one_name_with_and_without_its_trailing_dot(name: str) -> None:
    assert sfu_address(f"http://{name}") == "http://victim.example"


def test_a_name_can_register_whatever_it_may_lead_to() -> None:
    ANYWHERE.check("http://metadata.google.internal")


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("http://10.0.7.1:8070", True),
        ("https://sfu9.example.com", True),
        ("http://10.1.7.1:8070", False),
        ("http://sfu9.example.com", False),
        ("https://sfu9.example.com.evil.net", False),
    ],
)
def test_with_patterns_only_matching_addresses_register(address: str, is_allowed: bool) -> None:
    guard = AddressGuard(["http://10.0.*", "https://*.EXAMPLE.com"])
    if is_allowed:
        guard.check(address)
    else:
        with pytest.raises(AddressNotAllowed, match=r"registration\.allow"):
            guard.check(address)
