"""Store URLs."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.redis_url import RedisUrlParts, parse_redis_url

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis", RedisUrlParts("standalone", False, (("redis", 6379),), "", {})),
        (
            "redis://redis:7000/3",
            RedisUrlParts("standalone", False, (("redis", 7000),), "3", {"db": 3}),
        ),
        (
            "rediss://:s3cret@redis",
            RedisUrlParts("standalone", True, (("redis", 6379),), "", {"username": None, "password": SECRET}),
        ),
        (
            "redis://user:p%40ss%2Fword@[::1]:7000",
            RedisUrlParts(
                "standalone", False, (("::1", 7000),), "", {"username": "user", "password": "p@ss/word"}
            ),
        ),
        (
            "redis+sentinel://one,two:26380/main?db=2&sentinel_password=s3cret",
            RedisUrlParts(
                "sentinel",
                False,
                (("one", 26379), ("two", 26380)),
                "main",
                {"db": 2, "sentinel_password": SECRET},
            ),
        ),
        (
            "rediss+cluster://one:7000,two:7001?ssl_ca_certs=/ca.pem&ssl_check_hostname=no",
            RedisUrlParts(
                "cluster",
                True,
                (("one", 7000), ("two", 7001)),
                "",
                {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            ),
        ),
    ],
)
def test_a_url_says_which_redis_and_how(url: str, expected: RedisUrlParts) -> None:
    assert parse_redis_url(url) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://redis", "scheme must be one of redis, rediss"),
        ("redis", "scheme"),
        ("redis://", "host is missing"),
        ("redis://u:s3cret@", "host is missing"),
        ("redis://redis:port", "no valid port"),
        ("redis://redis:99999", "no valid port"),
        ("redis://redis:0", "no valid port"),
        ("redis://redis/\u00b2", "database must be a number"),
        ("rediss://redis?ssl_check_hostname=maybe", "ssl_check_hostname must be true or false"),
        ("redis://redis?ssl_ca_certs=/ca.pem", "the ssl_ options need rediss://"),
        ("redis+cluster://one?ssl_check_hostname=no", "the ssl_ options need rediss://"),
        ("redis://redis?sentinel_password=s3cret", "need redis\\+sentinel://"),
        ("redis+cluster://one?db=1", "leave out db"),
        ("redis://one,two", "several hosts need"),
        ("redis+sentinel://u:p@one:26379,u:p@two:26379/main", "once, before the first host"),
        ("redis+sentinel://one:26379,u:p@two:26379/main", "once, before the first host"),
        ("rediss+cluster://u:p@one,u:p@two", "once, before the first host"),
        ("redis+sentinel://one:26379", "name the Sentinel service"),
        ("redis+cluster://one,,two", "host is missing"),
        ("redis://redis/main", "database must be a number"),
        ("redis://redis?s3cret=1", "the options are db, sentinel_password"),
        ("redis://redis?password=s3cret&timeout=3", "the options are"),
        ("redis://u:s3cret@[redis", "not a URL"),
        ("redis://u:s3cret@ho\u2100st", "not a URL"),
        ("redis://u:s3cret?x=1@redis", "write / as %2F"),
        ("redis://u:s3cret#x@redis", "# as %23"),
        ("redis://u:s3cret/x@redis", "/ as %2F"),
    ],
)
def test_a_wrong_url_is_explained_and_not_repeated(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_redis_url(url)
    assert SECRET not in str(caught.value)


@given(st.text() | st.text("redis+:/@?=[],0123456789").map("redis://".__add__))
def test_no_text_whatever_is_worse_than_a_wrong_value(text: str) -> None:
    with suppress(ValueError):
        assert parse_redis_url(text).hosts


def test_its_text_form_shows_no_password() -> None:
    url = parse_redis_url("redis://user:s3cret@redis:6379/1")
    assert SECRET not in f"{url!r} {url}"
