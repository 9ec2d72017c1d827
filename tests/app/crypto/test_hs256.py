"""Signatures: what another implementation signs is read here, and the other way round."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey

from app.crypto.hs256 import sign, verified_payload

SECRET = b"a secret of thirty-two bytes, so"
OTHER = b"another secret of thirty-two, so"
THEIR_KEY = OctKey.import_key(SECRET)
HEADER = {"typ": "JWT", "alg": "HS256"}


@given(st.binary(max_size=200))
def test_a_signature_of_ours_is_good_for_another_library(payload: bytes) -> None:
    assert jws.deserialize_compact(sign(payload, SECRET), THEIR_KEY).payload == payload


@given(st.binary(max_size=200))
def test_a_signature_of_another_library_is_good_here(payload: bytes) -> None:
    assert verified_payload(jws.serialize_compact(HEADER, payload, THEIR_KEY), SECRET) == payload


def test_another_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="another key"):
        verified_payload(sign(b"{}", OTHER), SECRET)


@pytest.mark.parametrize("change", ["=", "+", "/", " ", "\n", "é", "\ud800"])
def test_characters_outside_base64url_are_refused_in_every_part(change: str) -> None:
    token = sign(json.dumps({"x": 1}).encode(), SECRET)
    for part in range(3):
        parts = token.split(".")
        parts[part] += change
        with pytest.raises(ValueError, match=r"."):
            verified_payload(".".join(parts), SECRET)
