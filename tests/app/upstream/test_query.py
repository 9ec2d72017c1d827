"""Queries: byte for byte, without the gateway's own parameters."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.query import query_without

HINTS = frozenset({"region", "country"})


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        (b"", ""),
        (b"a=%E9", "a=%E9"),
        (b"a=%e9&b=1+2&c=%2B&&d", "a=%e9&b=1+2&c=%2B&&d"),
        (b"region=eu-west", ""),
        (b"a=1&region=eu-west&b=2&country=BE", "a=1&b=2"),
        (b"re%67ion=eu-west&a=1&country", "a=1"),
        (b"Region=x&regions=y", "Region=x&regions=y"),
        (b"a=\xe9 #\r\n\x00\x7f", "a=%E9%20%23%0D%0A%00%7F"),
        (b"a=\"<>\\^`{|}'[]", "a=\"<>\\^`{|}'[]"),
    ],
)
def test_a_query_is_passed_on_without_hints(query: bytes, passed: str) -> None:
    assert query_without(query, HINTS) == passed


@given(st.binary(max_size=60))
def test_a_query_fits_into_a_request_line_and_means_the_same(query: bytes) -> None:
    passed = query_without(query, frozenset())
    assert passed.isascii()
    assert passed.isprintable()
    assert " " not in passed
    assert "#" not in passed
    assert parameters(passed) == parameters(query.decode("latin-1"))


def parameters(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True, encoding="latin-1")
