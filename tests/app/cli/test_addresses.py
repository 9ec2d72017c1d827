"""SFUs as people name them."""

import pytest

from app.cli.addresses import named_by

FLEET = [
    "http://sfu1:8070",
    "http://sfu10:8070",
    "https://sfu2.example.com:8443",
    "http://127.0.0.1:9001",
    "http://127.0.0.1:9002",
    "http://[2001:db8::1]:8070",
]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("http://sfu1:8070", "http://sfu1:8070"),
        ("http://SFU1:8070/", "http://sfu1:8070"),
        ("sfu1:8070", "http://sfu1:8070"),
        ("sfu1", "http://sfu1:8070"),
        ("sfu2", "https://sfu2.example.com:8443"),
        ("example", "https://sfu2.example.com:8443"),
        ("9002", "http://127.0.0.1:9002"),
        ("2001:db8::1", "http://[2001:db8::1]:8070"),
    ],
)
def test_a_part_that_one_address_has_names_it(text: str, address: str) -> None:
    assert named_by(text, FLEET) == [address]


@pytest.mark.parametrize(
    ("text", "count"), [("127.0.0.1", 2), ("8070", 3), ("sfu", 3), ("nowhere", 0), ("", 0), (" ", 0)]
)
def test_a_part_of_several_or_of_none_names_no_single_one(text: str, count: int) -> None:
    assert len(named_by(text, FLEET)) == count
