"""Probable causes, from the errors that forwarding meets."""

import pytest

from app.diagnosis.likely import likely_reason


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("answered 401 to /v1/channel", "AUTH_KEY"),
        ("answered 403 to /v1/channel", "AUTH_KEY"),
        ("answered 404 to /v1/channel", "address"),
        ("answered 500 to /v1/channel", "AUTH_KEY"),
        ("answered 502 to /v1/channel", "log"),
        ("answered 2xx with something that is not JSON", "address"),
        ("cannot be reached: its name does not exist", "PUBLIC_IP"),
        ("cannot be reached: its name cannot be looked up", "DNS"),
        ("cannot be reached: Connection refused", "port"),
        ("cannot be reached: certificate verify failed", "certificate"),
        ("cannot be reached: TLS: certificate has expired", "certificate"),
        ("cannot be reached: TLS: wrong version number", "SFU_ADDRESS"),
        ("answered 500 to /v1/channel; its clock is 3600 s ahead of the gateway's", "NTP"),
        ("did not answer within 1.25 s: no connection", "firewall"),
        ("did not answer within 1.25 s", "hangs"),
        ("cannot be reached: the connection ended without an answer", "proxy"),
        ("has a key that this replica cannot unseal", "sealing.keys"),
    ],
)
def test_an_error_has_a_probable_cause(error: str, word: str) -> None:
    assert word in likely_reason(error, "failed")


def test_an_sfu_that_has_calls_has_the_right_key() -> None:
    assert "AUTH_KEY" not in likely_reason("answered 500 to /v1/channel", "failed", has_calls=True)


def test_an_unknown_error_has_none() -> None:
    assert likely_reason("something else", "failed") == likely_reason("", "") == ""


@pytest.mark.parametrize(
    ("reason", "word"), [("misconfigured", "AUTH_KEY"), ("expired", "network"), ("unreachable", "host")]
)
def test_a_reason_that_says_it_all_wins(reason: str, word: str) -> None:
    assert word in likely_reason("answered 502 to /v1/channel", reason)


def test_a_clock_that_is_off_explains_more_than_a_reason() -> None:
    error = "answered 401 to /v1/channel; its clock is 3600 s ahead of the gateway's"
    assert "NTP" in likely_reason(error, "misconfigured")
