"""The URL of Redis: standalone, Sentinel or Cluster."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_SCHEMES: Final = (
    "redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip


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
    return RedisUrlParts(kind or "standalone", scheme == "rediss", hosts, service, _typed(options))


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
    return parts.hostname, port or default_port


def _typed(options: dict[str, Any]) -> dict[str, Any]:
    known = {"db", "username", "password", "sentinel_username", "sentinel_password"}
    known |= {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"}
    if not options.keys() <= known:  # unnamed: a password with a "?" in it ends up here
        raise ValueError(f"the options are {', '.join(sorted(known - {'username', 'password'}))}")
    if "db" in options:
        if not str(options["db"]).isdigit():
            raise ValueError("the database must be a number")
        options["db"] = int(options["db"])
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() in ("1", "true", "yes")
    return options
