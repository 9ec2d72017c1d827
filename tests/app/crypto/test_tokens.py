"""Tokens and keys: what Odoo signs is read, and nothing else is."""

import base64
import hmac
import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.tokens import MAX_TOKEN_BYTES, Key, bearer_token, decode_base64, verify
from app.errors import CredentialsExpired, CredentialsInvalid, CredentialsMissing

KEY = Key(b"a key of thirty-two bytes, about")
OTHER = Key(b"another key of thirty-two bytes!")
NOW = 1_750_000_000

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
any_claims = st.dictionaries(st.text(), json_values, max_size=5)


def part(value: object) -> str:
    """One part of a token: JSON, or bytes as they are, in base64url without padding."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(payload: object, header: object, digest: str = "sha256") -> str:
    """A token with any payload under any header, its signature made with `KEY`."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(hmac.digest(KEY.secret, text.encode(), digest))}"


def hs256(payload: object) -> str:
    return signed(payload, {"typ": "JWT", "alg": "HS256"})


@given(any_claims)
def test_what_is_signed_is_what_is_read(claims: dict[str, Any]) -> None:
    claims = claims | {"exp": NOW + 30}
    claims.pop("nbf", None)
    assert verify(KEY.sign(claims), [KEY], now=NOW) == claims


def test_a_token_is_what_odoo_makes() -> None:
    """The example of RFC 7515, appendix A.1: made elsewhere, by the book."""
    key = Key.from_base64(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    )
    token = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    assert verify(token, [key], now=1_300_819_379)["iss"] == "joe"


def test_any_of_several_keys_will_do() -> None:
    assert verify(OTHER.sign({"exp": NOW + 1}), [KEY, OTHER], now=NOW)


@pytest.mark.parametrize("keys", [[], [OTHER]])
def test_a_token_of_another_key_is_refused(keys: list[Key]) -> None:
    with pytest.raises(CredentialsInvalid):
        verify(KEY.sign({"exp": NOW + 1}), keys, now=NOW)


@given(st.text() | st.lists(st.text("ey0.-_AQ="), min_size=3, max_size=3).map(".".join))
def test_no_text_whatever_is_worse_than_invalid(text: str) -> None:
    with pytest.raises(CredentialsInvalid):
        verify(text, [KEY], now=NOW)


@given(any_claims | json_values | st.binary(), any_claims | json_values)
def test_no_genuine_token_whatever_is_worse_than_invalid(payload: object, header: object) -> None:
    for token in (hs256(payload), signed(payload, header)):
        with pytest.raises((CredentialsInvalid, CredentialsExpired)):
            verify(token, [KEY], now=math.inf)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(f"{part({'alg': 'none'})}.{part({'exp': NOW + 9})}.", id="alg none"),
        pytest.param(f"{part({'alg': 'None'})}.{part({'exp': NOW + 9})}.", id="alg None"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": "HS512"}, "sha512"), id="HS512"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": "HS512"}), id="HS512, signed by HS256"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": "RS256"}), id="RS256"),
        pytest.param(signed({"exp": NOW + 9}, {}), id="no alg"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": ["HS256"]}), id="a list of alg"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": "HS256", "crit": ["x"]}), id="unknown crit"),
        pytest.param(signed({"exp": NOW + 9}, {"alg": "HS256", "crit": []}), id="empty crit"),
        pytest.param(signed({"exp": NOW + 9}, []), id="a header that is a list"),
        pytest.param(hs256([NOW + 9]), id="claims that are a list"),
        pytest.param(hs256(b'{"exp":' + b"9" * 5000 + b"}"), id="a number of 5000 digits"),
        pytest.param(hs256(b'{"exp":' + b"9" * 400 + b"}"), id="a number beyond all floats"),
        pytest.param(hs256(b"[" * 3000), id="3000 brackets"),
        pytest.param(signed({"exp": NOW + 9}, b"[" * 3000), id="3000 brackets in the header"),
        pytest.param(hs256(b"\xff"), id="no UTF-8"),
        pytest.param(part({"alg": "dir", "enc": "A128GCM"}) + "....", id="an encrypted token"),
    ],
)
def test_no_trick_makes_a_token_valid(token: str) -> None:
    with pytest.raises(CredentialsInvalid):
        verify(token, [KEY], now=NOW)


def test_a_changed_token_is_refused() -> None:
    header, claims, signature = KEY.sign({"exp": NOW + 9, "iss": "me"}).split(".")
    forged = part({"exp": NOW + 9, "iss": "you"})
    for token in (
        f"{header}.{forged}.{signature}",
        f"{header}.{claims}.{signature[::-1]}",
        f"{header}.{claims}.",
    ):
        with pytest.raises(CredentialsInvalid):
            verify(token, [KEY], now=NOW)


def test_8_kib_are_read_and_not_one_byte_more() -> None:
    longest = next(
        token
        for size in range(6_100, 5_900, -1)
        if len(token := KEY.sign({"exp": NOW + 9, "x": "y" * size})) <= MAX_TOKEN_BYTES
    )
    assert verify(longest, [KEY], now=NOW)
    with pytest.raises(CredentialsInvalid, match="longer than 8192 bytes"):
        verify(longest.ljust(MAX_TOKEN_BYTES + 1, "A"), [KEY], now=NOW)


# Times


def test_a_token_is_good_until_the_second_of_its_exp() -> None:
    token = KEY.sign({"exp": NOW})
    assert verify(token, [KEY], now=NOW - 0.001)
    with pytest.raises(CredentialsExpired):
        verify(token, [KEY], now=NOW)


def test_a_token_is_good_from_the_second_of_its_nbf() -> None:
    token = KEY.sign({"exp": NOW + 9, "nbf": NOW})
    assert verify(token, [KEY], now=NOW)
    with pytest.raises(CredentialsInvalid, match="nbf"):
        verify(token, [KEY], now=NOW - 0.001)


def test_leeway_is_granted_on_both_sides() -> None:
    token = KEY.sign({"exp": NOW, "nbf": NOW})
    assert verify(token, [KEY], now=NOW + 4, leeway_seconds=5)
    assert verify(token, [KEY], now=NOW - 5, leeway_seconds=5)
    with pytest.raises(CredentialsExpired):
        verify(token, [KEY], now=NOW + 5, leeway_seconds=5)


@pytest.mark.parametrize(
    "exp", ["NaN", "Infinity", "-Infinity", "1e999", "true", "null", '"9999999999"', "[]"]
)
def test_an_exp_that_is_no_time_is_none(exp: str) -> None:
    with pytest.raises(CredentialsInvalid, match="no expiry"):
        verify(hs256(f'{{"exp":{exp}}}'.encode()), [KEY], now=0)


def test_exp_is_required() -> None:
    with pytest.raises(CredentialsInvalid, match="no expiry"):
        verify(KEY.sign({"iss": "odoo"}), [KEY], now=NOW)


@pytest.mark.parametrize("nbf", [True, None, "now", math.nan])
def test_an_nbf_that_is_no_time_never_comes(nbf: object) -> None:
    with pytest.raises(CredentialsInvalid, match="nbf"):
        verify(hs256({"exp": NOW + 9, "nbf": nbf}), [KEY], now=NOW)


# Headers, keys


@pytest.mark.parametrize("header", ["Bearer x.y.z", "jwt x.y.z", "bearer  x.y.z ", "JWT\tx.y.z"])
def test_the_scheme_word_does_not_matter(header: str) -> None:
    assert bearer_token(header) == "x.y.z"


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "x.y.z", "Bearer x y"])
def test_a_header_without_a_token_says_what_to_send(header: str | None) -> None:
    with pytest.raises(CredentialsMissing, match="Bearer <token>"):
        bearer_token(header)


@given(st.binary(min_size=1))
def test_a_key_is_base64_in_either_alphabet_padded_or_not(secret: bytes) -> None:
    padded = [base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()]
    for text in padded + [text.rstrip("=") for text in padded]:
        assert Key.from_base64(f" {text}\n") == Key(secret)


@given(st.text())
def test_no_text_whatever_is_worse_than_no_base64(text: str) -> None:
    with suppress(ValueError):
        assert Key.from_base64(text).secret == decode_base64(text)


@pytest.mark.parametrize("text", ["", "=", "A", "AAAAA", "AA AA", "ключ", "AA\x00A", "A=AA"])
def test_a_key_that_is_empty_or_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|not base64"):
        Key.from_base64(text)


def test_a_key_has_no_text_form_that_shows_it() -> None:
    for shown in (str(KEY), repr(KEY), f"{KEY}", repr([KEY])):
        assert "thirty-two" not in shown
    assert repr(KEY) == "Key(<32 secret bytes>)"


def test_keys_are_equal_by_their_secret() -> None:
    assert {Key(b"x"), Key(b"x")} == {Key(b"x")}
    assert Key(b"x") != Key(b"y")
    assert Key(b"x") != b"x"


def test_a_key_of_fewer_than_32_bytes_is_short_and_works() -> None:
    assert Key(b"x" * 31).is_short
    assert not Key(b"x" * 32).is_short
    assert verify(Key(b"x").sign({"exp": NOW + 1}), [Key(b"x")], now=NOW)
