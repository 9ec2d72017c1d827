import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.tokens import Key, decode_base64
from workers.agent.token import SigningKey

SECRET = b"the key that lets SFUs register!"

any_claims = st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text())


@given(claims=any_claims, secret=st.binary(min_size=1, max_size=80))
def test_the_gateway_reads_what_the_agent_signs(claims: dict[str, object], secret: bytes) -> None:
    assert Key(secret).claims_of(SigningKey(secret).sign(claims)) == claims


@given(secret=st.binary(min_size=1, max_size=80), padded=st.booleans(), urlsafe=st.booleans())
def test_keys_are_read_as_the_gateway_reads_them(secret: bytes, padded: bool, urlsafe: bool) -> None:
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(secret).decode()
    text = text if padded else text.rstrip("=")
    assert decode_base64(text) == secret
    assert SigningKey.from_base64(f" {text}\n").sign({}) == SigningKey(secret).sign({})


@pytest.mark.parametrize("text", ["", "===", "n*t-b@se64", "a", "schlüssel"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|not base64|ASCII"):
        SigningKey.from_base64(text)


def test_the_text_form_never_shows_the_secret() -> None:
    assert SECRET.decode() not in repr(SigningKey(SECRET))
