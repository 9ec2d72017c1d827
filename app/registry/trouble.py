"""Why Redis did not serve a call: it does not answer, or it answers and refuses."""

import asyncio
import re
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.settings.model import RedisSettings
from app.settings.redis_url import parse_redis_url

_OF_A_STREAM: Final = frozenset({*dir(asyncio.StreamReader), *dir(asyncio.StreamWriter)})
"""What redis-py asks of a connection's streams, which are `None` once the connection is closed."""

_CLOSED: Final = "the handler is closed"
"""What uvloop says to whoever writes on a connection that has ended."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with Redis, in words for operators, without user name, password or key."""

    code: str
    """Stable: Redis' own error code in small letters, or `timeout`, `refused`, `unresolved`, `away`."""
    answers: bool
    """Whether Redis answered at all."""
    cause: str
    fix: str

    def __str__(self) -> str:
        return f"Redis {'answers and refuses' if self.answers else 'does not answer'}: {self.cause}"


_REFUSALS: Final = (
    ("WRONGPASS", "wrong user name or password (WRONGPASS)", "set the user and password in redis.url"),
    ("NOAUTH", "it wants a password (NOAUTH)", "set the user and password in redis.url"),
    ("NOPERM", "this user lacks a right (NOPERM)", "grant the rights that docs/redis.md lists"),
    ("MISCONF", "it cannot write to disk (MISCONF)", "free disk space, then see Redis' log"),
    ("READONLY", "it is a read-only replica (READONLY)", "let redis.url name the primary, or Sentinel"),
    ("LOADING", "it is loading its data (LOADING)", "wait until it has loaded"),
    ("OOM", "its memory is full (OOM)", "raise maxmemory"),
    (
        "DENIED",
        "protected mode refuses other hosts (DENIED)",
        "set a password, or bind it to this network only",
    ),
    ("NOREPLICAS", "too few replicas follow it (NOREPLICAS)", "bring its replicas back"),
    ("MASTERDOWN", "its primary is gone (MASTERDOWN)", "bring the primary back"),
    ("CLUSTERDOWN", "the Cluster lacks slots (CLUSTERDOWN)", "bring the missing primaries back"),
    ("DB", "it has no database of that number", "set a database that Redis has in redis.url"),
    ("SELECT", "it is a Cluster, which has one database", "leave out the database in redis.url"),
    (
        "unknown",
        "it lacks a command: it is too old, or no Sentinel",
        "see docs/redis.md for versions and URLs",
    ),
    ("This", "it is no Cluster", "let redis.url begin with redis:// or rediss://"),
    ("BUSY", "a script blocks it (BUSY)", "see SLOWLOG; SCRIPT KILL ends the script"),
)
_BY_TYPE: Final[tuple[tuple[type[RedisError], str], ...]] = (
    (NoPermissionError, "NOPERM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (OutOfMemoryError, "OOM"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (AuthenticationError, "WRONGPASS"),
)
_CHECK_TLS: Final = "check rediss:// and the ssl_ options in redis.url, and the certificate of Redis"
_IN_A_SCRIPT: Final = re.compile(
    r"Error running script .*: -([A-Z]+) |The user executing the script can't", re.DOTALL
)
"""Before version 7 Redis wraps the refusal of a command in a script; before 7.2 a missing right has no code there."""
_UNAUTHENTICATED: Final = ("already authenticated", "Authentication required", "called without any password")


def trouble_of(error: BaseException) -> Trouble:
    """Return what `error`, or its cause, says about Redis."""
    chain = list(_chain(error))
    for each in chain:
        if refusal := _refusal_of(each):
            return refusal
    for each in chain:
        if isinstance(each, socket.gaierror):
            return Trouble(
                "unresolved", False, "its host name does not resolve", "check the host in redis.url"
            )
        if isinstance(each, ConnectionRefusedError):
            return Trouble("refused", False, "the connection was refused", "check that it runs, and its port")
        if isinstance(each, MasterNotFoundError):
            return Trouble(
                "away", False, "no Sentinel names a primary", "check hosts and service name in redis.url"
            )
        if isinstance(each, FileNotFoundError | PermissionError):
            kind = type(each).__name__
            return Trouble("away", False, f"a file for TLS cannot be read ({kind})", _CHECK_TLS)
        if isinstance(each, ssl.SSLError):
            return Trouble("away", False, f"TLS failed ({type(each).__name__})", _CHECK_TLS)
    if any(isinstance(each, TimeoutError | RedisTimeoutError) for each in chain):
        return Trouble("timeout", False, "no answer in time", "check the network between, and its load")
    kind = next((type(each).__name__ for each in reversed(chain)), "unknown")
    return Trouble(
        "away", False, f"the connection failed ({kind})", "check redis.url and the network between"
    )


def where(settings: RedisSettings) -> str:
    """Return host, port and database of `redis.url`, without user name and password."""
    if settings.url is None:
        return "embedded"
    url = parse_redis_url(settings.url.get_secret_value())
    hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in url.hosts)
    if url.kind == "sentinel":
        return f"{hosts} (Sentinel, service {url.service})"
    return f"{hosts} (Cluster)" if url.kind == "cluster" else f"{hosts}, database {url.options.get('db', 0)}"


def _chain(error: BaseException | None) -> "list[BaseException]":
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _refusal_of(error: BaseException) -> Trouble | None:
    """Return the error code of a reply. redis-py turns known codes into types, and leaves others in the text."""
    if not isinstance(error, RedisError):
        return None
    text = str(error)
    word = text.split(" ", 1)[0]
    if inside := _IN_A_SCRIPT.search(text):
        word = inside[1] or "NOPERM"
    code = next((code for kind, code in _BY_TYPE if isinstance(error, kind)), word)
    if code == "WRONGPASS" and any(sign in text for sign in _UNAUTHENTICATED):
        code = "NOAUTH"
    found = next((refusal for refusal in _REFUSALS if refusal[0] == code), None)
    return None if found is None else Trouble(code.lower(), True, *found[1:])


def lost_connection(error: BaseException) -> RedisConnectionError | None:
    """Return what an error means by which redis-py falls over a connection that ended meanwhile; `None` for others.

    It looks neither whether the streams of a connection are still there nor whether they are open.
    """
    is_gone = isinstance(error, AttributeError) and error.obj is None and error.name in _OF_A_STREAM
    is_closed = isinstance(error, RuntimeError) and _CLOSED in str(error)
    return RedisConnectionError("the connection was closed meanwhile") if is_gone or is_closed else None
