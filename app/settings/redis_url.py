"""The URL of Redis: standalone, Sentinel or Cluster."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_SCHEMES: Final = (
    "redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip

_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_BOOLEANS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class RedisUrlParts:
    """A parsed URL of Redis. Its repr shows no password."""

    kind: str
    is_tls: bool
    hosts: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]

    def __repr__(self) -> str:
        return f"RedisUrlParts({self.kind}, {len(self.hosts)} hosts)"


def parse_redis_url(url: str) -> RedisUrlParts:
    """Parse the URL of Redis: `scheme://[user[:password]@]host[:port][,...][/name]`.

    The path is the database; for Sentinel it is the service's name, and `?db=`, `?sentinel_username=` and
    `?sentinel_password=` apply. For TLS, `?ssl_ca_certs=`, `?ssl_certfile=`, `?ssl_keyfile=` name files.

    Raises:
        ValueError: not such a URL; the message never repeats the URL.
    """
    _check_reserved(url)
    parts = _split(url)
    scheme, _, kind = parts.scheme.partition("+")
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"the scheme must be one of {', '.join(_SCHEMES)}")
    credentials, _, netloc = parts.netloc.rpartition("@")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if credentials:
        username, _, password = credentials.partition(":")
        options |= {"username": unquote(username) or None, "password": unquote(password) or None}
    if kind and "," in credentials:  # a host before it would be read as part of the password
        raise ValueError("give user and password once, before the first host, and write , in them as %2C")
    default_port = 26379 if kind == "sentinel" else 6379
    hosts = tuple(_host(text, default_port) for text in netloc.split(","))
    service = parts.path.strip("/")
    if kind == "sentinel" and not service:
        raise ValueError("name the Sentinel service: redis+sentinel://host:port/service")
    if not kind and len(hosts) > 1:
        raise ValueError("several hosts need redis+sentinel:// or redis+cluster://")
    if kind == "cluster" and service:
        raise ValueError("a Cluster has no databases: leave out the path")
    if not kind and service:
        options["db"] = service
    typed = _typed(options)
    _check_fit(typed, kind, is_tls=scheme == "rediss")
    return RedisUrlParts(kind or "standalone", scheme == "rediss", hosts, service, typed)


def _check_reserved(url: str) -> None:
    """Refuse a user name or password with an unescaped `/`, `?` or `#`, which end it (RFC 3986, section 2.2)."""
    before, _, _ = url.partition("://")[2].rpartition("@")
    if any(character in before for character in "/?#"):
        raise ValueError("user name and password: write / as %2F, ? as %3F, # as %23 and @ as %40")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its message may contain user and password
        raise ValueError("it is not a URL") from None


def _host(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError:
        raise ValueError("a host has no valid port") from None
    if not parts.hostname:
        raise ValueError("a host is missing")
    if port == 0:
        raise ValueError("a host has no valid port")
    return parts.hostname, port or default_port


def _typed(options: dict[str, Any]) -> dict[str, Any]:
    known = {"db", "username", "password", *_SENTINEL_OPTIONS, *_TLS_OPTIONS}
    if not options.keys() <= known:  # unnamed: a password with a "?" in it ends up here
        raise ValueError(f"the options are {', '.join(sorted(known - {'username', 'password'}))}")
    if "db" in options:
        if not str(options["db"]).isdecimal():
            raise ValueError("the database must be a number")
        options["db"] = int(options["db"])
    if "ssl_check_hostname" in options:
        checks = _BOOLEANS.get(options["ssl_check_hostname"].lower())
        if checks is None:
            raise ValueError("ssl_check_hostname must be true or false")
        options["ssl_check_hostname"] = checks
    return options


def _check_fit(options: dict[str, Any], kind: str, *, is_tls: bool) -> None:
    """Refuse options that this kind of Redis does not have."""
    if kind == "cluster" and options.get("db"):
        raise ValueError("a Cluster has no databases: leave out db")
    if kind != "sentinel" and not options.keys().isdisjoint(_SENTINEL_OPTIONS):
        raise ValueError(
            "sentinel_username and sentinel_password need redis+sentinel:// or rediss+sentinel://"
        )
    if not is_tls and not options.keys().isdisjoint(_TLS_OPTIONS):
        raise ValueError("the ssl_ options need rediss://, rediss+sentinel:// or rediss+cluster://")
