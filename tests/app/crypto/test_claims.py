"""Claims: whatever arrives in a genuine token can be signed again and stored, or is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.claims import (
    MAX_DEPTH,
    MAX_DISCONNECT_CHANNELS,
    MAX_ID_CHARACTERS,
    MAX_ISSUER_CHARACTERS,
    decode_claims,
    encode_claims,
    issuer_of,
    sessions_of,
)
from app.errors import CredentialsInvalid, IssuerMissing

any_text = st.text(st.characters())  # half surrogate pairs, too
any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(any_text, any_value, max_size=4))
def test_claims_that_are_read_can_be_written_again(claims: dict[str, Any]) -> None:
    try:
        read = decode_claims(json.dumps(claims).encode())
    except CredentialsInvalid:
        return
    assert decode_claims(encode_claims(read)) == read


@given(st.binary(max_size=60))
def test_no_payload_whatever_is_worse_than_invalid(payload: bytes) -> None:
    try:
        decode_claims(payload)
    except CredentialsInvalid:
        return


@pytest.mark.parametrize(
    "payload",
    [
        r'{"x": "\ud800"}',
        r'{"x": ["\uDFFF"]}',
        r'{"\ud800": 1}',
        r'{"iss": "a\udc00b"}',
        '{"x": NaN}',
        '{"x": -Infinity}',
        '{"x": [1e999]}',
        "[]",
        "7",
        "null",
        "",
        '{"x": ' + "9" * 5000 + "}",
        '{"x": ' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}",
        '{"x":' * 2000 + "1" + "}" * 2000,
    ],
)
def test_claims_that_cannot_be_passed_on_are_refused(payload: str) -> None:
    with pytest.raises(CredentialsInvalid):
        decode_claims(payload.encode())


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert decode_claims(rb'{"x": "\ud83d\ude00"}') == {"x": "\U0001f600"}


def test_claims_may_be_wide_and_a_little_deep() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert decode_claims(f'{{"x": {deep}, "y": {[[]] * 200}}}'.encode())


@pytest.mark.parametrize(
    "issuer", [None, "", 7, ["x"], "x" * (MAX_ISSUER_CHARACTERS + 1), "a\nb", "a\x00", "a\x7f", "\x85"]
)
def test_an_issuer_that_names_no_channel_is_refused(issuer: object) -> None:
    with pytest.raises(IssuerMissing):
        issuer_of({"iss": issuer})


def test_an_issuer_may_be_any_printable_text() -> None:
    assert (
        issuer_of({"iss": "https://öffentlich.example:channel:7"}) == "https://öffentlich.example:channel:7"
    )


def test_sessions_are_lists_of_ids_by_channel() -> None:
    sessions = {"7c0e": [1, 2, "guest-3"], "x" * MAX_ID_CHARACTERS: []}
    assert sessions_of({"sessionIdsByChannel": sessions}) == sessions


@pytest.mark.parametrize(
    "sessions",
    [
        None,
        [],
        "first",
        {str(number): [] for number in range(MAX_DISCONNECT_CHANNELS + 1)},
        {"": [1]},
        {"a\r\nb": [1]},
        {"x" * (MAX_ID_CHARACTERS + 1): [1]},
        {"7c0e": 1},
        {"7c0e": {"1": 2}},
        {"7c0e": [True]},
        {"7c0e": [1.5]},
        {"7c0e": [None]},
        {"7c0e": [2**53]},
        {"7c0e": ["a\x00"]},
        {"7c0e": [[1]]},
    ],
)
def test_what_names_no_sessions_is_refused(sessions: object) -> None:
    with pytest.raises(CredentialsInvalid, match="sessionIdsByChannel"):
        sessions_of({"sessionIdsByChannel": sessions})
