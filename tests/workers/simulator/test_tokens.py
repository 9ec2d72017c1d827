import base64
import hashlib
import hmac

import pytest

from app.crypto.tokens import Key
from tests.support.simulated import KEY
from workers.simulator.tokens import Dialect, TokenRefused, claims_of

NOW = 1_750_000_000.0

both_dialects = pytest.mark.parametrize("dialect", ["odoo", "strict"])


@both_dialects
def test_a_token_of_the_sfu_s_own_key_is_believed(dialect: Dialect) -> None:
    claims = {"iss": "https://odoo.example:channel:7", "exp": NOW + 30}
    assert claims_of(KEY.sign(claims), KEY, dialect, now=NOW) == claims


@both_dialects
@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "é.b.c", KEY.sign({})[:-4], KEY.sign({}) + "."])
def test_what_is_no_token_is_refused(dialect: Dialect, text: str) -> None:
    with pytest.raises(TokenRefused):
        claims_of(text, KEY, dialect, now=NOW)


@both_dialects
def test_a_token_of_another_key_is_refused(dialect: Dialect) -> None:
    with pytest.raises(TokenRefused):
        claims_of(Key(b"another key").sign({"iss": "x"}), KEY, dialect, now=NOW)


@both_dialects
@pytest.mark.parametrize("exp", [NOW - 1, NOW - 3600])
def test_an_expired_token_is_refused(dialect: Dialect, exp: float) -> None:
    with pytest.raises(TokenRefused):
        claims_of(KEY.sign({"iss": "x", "exp": exp}), KEY, dialect, now=NOW)


def test_only_the_strict_dialect_refuses_a_token_in_the_very_second_of_its_expiry() -> None:
    last_second = KEY.sign({"iss": "x", "exp": NOW})
    assert claims_of(last_second, KEY, "odoo", now=NOW + 0.9)
    with pytest.raises(TokenRefused):
        claims_of(last_second, KEY, "strict", now=NOW)


@pytest.mark.parametrize("claims", [{"nbf": NOW + 1}, {"iat": NOW + 61}])
def test_the_odoo_dialect_refuses_tokens_from_the_future(claims: dict[str, float]) -> None:
    with pytest.raises(TokenRefused):
        claims_of(KEY.sign(claims), KEY, "odoo", now=NOW)


def test_only_the_odoo_dialect_reads_padded_standard_base64() -> None:
    padded = _padded_token('{"alg": "HS256"}', '{"iss": "ûÿ"}')
    assert claims_of(padded, KEY, "odoo", now=NOW) == {"iss": "ûÿ"}
    with pytest.raises(TokenRefused):
        claims_of(padded, KEY, "strict", now=NOW)


def test_only_the_strict_dialect_refuses_a_token_over_16_kib() -> None:
    long = KEY.sign({"iss": "x" * 16 * 1024})
    assert claims_of(long, KEY, "odoo", now=NOW)
    with pytest.raises(TokenRefused):
        claims_of(long, KEY, "strict", now=NOW)


@pytest.mark.parametrize("header", ['{"alg": "none"}', '{"alg": "HS512"}', "{}", "[]"])
def test_another_algorithm_is_refused(header: str) -> None:
    with pytest.raises(TokenRefused):
        claims_of(_padded_token(header, "{}"), KEY, "odoo", now=NOW)


def _padded_token(header: str, claims: str) -> str:
    signed = f"{_padded(header.encode())}.{_padded(claims.encode())}"
    return f"{signed}.{_padded(hmac.digest(KEY.secret, signed.encode(), hashlib.sha256))}"


def _padded(content: bytes) -> str:
    return base64.b64encode(content).decode()
