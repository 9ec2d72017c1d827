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
        ("http://sfu_1.default.svc.cluster.local.:8070", "http://sfu_1.default.svc.cluster.local.:8070"),
        ("http://192.0.2.1", "http://192.0.2.1"),
        ("http://[2001:DB8:0::1]:8070", "http://[2001:db8::1]:8070"),
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
METADATA = ["fd00:ec2::254", "100.100.100.200", "168.63.129.16", "::ffff:100.100.100.200", "::a9fe:a9fe"]
NOWHERE = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1", "2002:e000:1::"]
ORDINARY = ["127.0.0.1", "10.0.0.1", "192.0.2.1", "203.0.113.7", "::1", "2001:db8::1", "fd00::1"]


@pytest.mark.parametrize("ip", [*LINK_LOCAL, *METADATA, *NOWHERE])
def test_the_gateway_connects_to_no_metadata_service_and_to_nobody_at_large(ip: str) -> None:
    assert not ANYWHERE.permits(ipaddress.ip_address(ip))


@pytest.mark.parametrize("ip", ORDINARY)
def test_the_gateway_connects_to_ordinary_addresses(ip: str) -> None:
    assert ANYWHERE.permits(ipaddress.ip_address(ip))


def test_the_operator_can_open_link_local_addresses_and_no_others() -> None:
    guard = AddressGuard(allow_link_local=True)
    assert all(guard.permits(ipaddress.ip_address(ip)) for ip in LINK_LOCAL + METADATA)
    assert not any(guard.permits(ipaddress.ip_address(ip)) for ip in NOWHERE)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(ip: ipaddress.IPv4Address) -> None:
    clothes = [f"::ffff:{ip}", f"64:ff9b::{ip}", str(ipaddress.IPv6Address((0x2002 << 112) | int(ip) << 80))]
    assert {ANYWHERE.permits(ipaddress.ip_address(dressed)) for dressed in clothes} == {ANYWHERE.permits(ip)}


@pytest.mark.parametrize("ip", ["169.254.169.254", "[fe80::1]", "[::ffff:a9fe:a9fe]", "0.0.0.0"])
def test_an_address_that_is_written_as_a_forbidden_number_cannot_register(ip: str) -> None:
    with pytest.raises(AddressNotAllowed, match="link-local"):
        ANYWHERE.check(sfu_address(f"http://{ip}:8070"))


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
