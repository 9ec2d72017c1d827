"""Raw bytes against a running gateway, the server that ships: what they are answered, and that nothing stays."""

import re
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.journeys.deployment import REGISTRATION_KEY, Deployment, Replica, channel_token
from tests.support.engines import RedisServer, any_binary
from tests.support.ports import HOST
from tests.support.waiting import eventually_sync

PATIENCE_S = 8
"""Longer than the server waits for anything here."""

H = b"Host: gateway\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes, the statuses they are answered with, and whether the server then ends the connection."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    is_closed: bool = False


def get(path: bytes = b"/v1/noop", *lines: bytes, version: bytes = b"1.1", host: bytes = H) -> bytes:
    """A request without a body."""
    return (
        b"GET "
        + path
        + b" HTTP/"
        + version
        + b"\r\n"
        + host
        + b"".join(b"%b\r\n" % line for line in lines)
        + b"\r\n"
    )


def post(body: bytes, *lines: bytes, path: bytes = b"/v1/sfu") -> bytes:
    """A request with whatever framing its `lines` say."""
    return (
        b"POST " + path + b" HTTP/1.1\r\n" + H + b"".join(b"%b\r\n" % line for line in lines) + b"\r\n" + body
    )


def length(size: int | bytes) -> bytes:
    return b"Content-Length: " + (size if isinstance(size, bytes) else str(size).encode())


CHUNKED = b"Transfer-Encoding: chunked"
NOOP, SNEAKED = get(), get(b"/v1/health")

PLAIN = [
    Case("a request", NOOP, (200,)),
    Case("two requests", NOOP * 2, (200, 200)),
    Case("twenty requests", NOOP * 20, (200,) * 20),
    Case("requests with bodies between", NOOP + post(b"{}", length(2)) + NOOP, (200, 401, 200)),
    Case("empty lines before a request", b"\r\n\r\n" + NOOP, (200,)),
    Case("an old request", get(version=b"1.0"), (200,), True),
    Case("an old request without Host", get(version=b"1.0", host=b""), (200,), True),
    Case("an old request that stays", get(b"/livez", b"Connection: keep-alive", version=b"1.0"), (200,), True),
    Case("a request that leaves", get(b"/livez", b"Connection: close"), (200,), True),
    Case("a request behind one that leaves", get(b"/livez", b"Connection: close") + SNEAKED, (200,), True),
    Case("more spaces than needed", b"GET  /v1/noop  HTTP/1.1\r\n" + H + b"\r\n", (200,)),
    Case("an asterisk as target", get(b"*"), (404,)),
    Case("an absolute target", get(b"http://gateway/v1/noop"), (200,)),
    Case("HEAD where GET is safe", b"HEAD /v1/noop HTTP/1.1\r\n" + H + b"\r\n", (200,)),
    Case("a GET with a body", b"GET /v1/noop HTTP/1.1\r\n" + H + length(2) + b"\r\n\r\nab" + NOOP, (200, 200)),
    Case("a chunked body", post(b"2\r\n{}\r\n0\r\n\r\n", CHUNKED) + NOOP, (401, 200)),
    Case("chunks with extensions", post(b"2;a=b\r\n{}\r\n0;c\r\n\r\n", CHUNKED) + NOOP, (401, 200)),
    Case("chunks with trailers", post(b"2\r\n{}\r\n0\r\nA: b\r\n\r\n", CHUNKED) + NOOP, (401, 200)),
    Case("chunks that hold empty lines", post(b"6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", CHUNKED) + NOOP, (401, 200)),
    Case("a body that is a request", post(SNEAKED, length(len(SNEAKED))) + NOOP, (401, 200)),
    Case("a body of empty lines", post(b"\r\n" * 4, length(8)) + NOOP, (401, 200)),
    Case("an upgrade to WebSocket", get(b"/v1/noop", b"Connection: upgrade", b"Upgrade: websocket") + NOOP,
         (200, 200)),
    Case("an upgrade to HTTP/2", get(b"/v1/noop", b"Connection: Upgrade", b"Upgrade: h2c") + NOOP, (200, 200)),
    Case("a long path that is nobody's", get(b"/" + b"x" * 8_000), (404,)),
    Case("a path that climbs", get(b"/../../etc/passwd"), (404,)),
    Case("a path of escapes", get(b"/%00%0d%0a%ff"), (404,)),
    Case("a slash too many", get(b"/v1/channel/"), (404,)),
    Case("a slash too many on a heartbeat", post(b"{}", length(2), path=b"/v1/sfu/"), (404,)),
    Case("a slash in front", get(b"//v1/noop"), (404,)),
    Case("no slash where there is one", get(b"/v1"), (404,)),
    Case("an empty query", get(b"/v1/noop?"), (200,)),
    Case("a query of anything", get(b"/v1/noop?%ff&&=&a=%E9"), (200,)),
    Case("any Accept on metrics", get(b"/metrics", b"Accept: application/openmetrics-text;version=x"), (200,)),
    Case("a colon as Accept on metrics", get(b"/metrics", b"Accept: text/plain;version=;escaping=,;;"), (200,)),
    Case("an Accept of other times", get(b"/metrics", b"Accept: application/openmetrics-text;version=9.9.9"), (200,)),
]  # fmt: skip

METHODS = [
    *(Case(f"{method} on a channel", f"{method} /v1/channel HTTP/1.1\r\n".encode() + H + b"\r\n", (405,))
      for method in ("HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "POST")),
    *(Case(f"{method} on a heartbeat", f"{method} /v1/sfu HTTP/1.1\r\n".encode() + H + b"\r\n", (405,))
      for method in ("GET", "HEAD", "PUT", "DELETE")),
    *(Case(f"{method} on events", f"{method} /v1/events HTTP/1.1\r\n".encode() + H + b"\r\n", (405,))
      for method in ("HEAD", "POST")),
    Case("HEAD on events with a long body",
         b"HEAD /v1/events HTTP/1.1\r\n" + H + length(70_000) + b"\r\n\r\n" + b"x" * 70_000, (413,), True),
    Case("CONNECT", b"CONNECT gateway:80 HTTP/1.1\r\n" + H + b"\r\n", (400,), True),
    Case("a method that is none", b"FETCH /v1/noop HTTP/1.1\r\n" + H + b"\r\n", (400,), True),
    Case("a method in small letters", b"get /v1/noop HTTP/1.1\r\n" + H + b"\r\n", (400,), True),
]  # fmt: skip

HOSTS = [
    Case("no Host", get(host=b""), (400,), True),
    Case("two Hosts", get(host=H * 2), (400,), True),
    Case("two different Hosts", get(host=H + b"Host: evil.example\r\n"), (400,), True),
    Case("two Hosts in an old request", get(version=b"1.0", host=H * 2), (400,), True),
    Case("a request behind one without Host", get(host=b"") + SNEAKED, (400,), True),
    Case("a request before one without Host", NOOP + get(host=b""), (200, 400), True),
    *(Case(f"the Host {host!r}", get(host=b"Host: " + host + b"\r\n"), (400,), True)
      for host in (b"a b", b"a/b", b"user@a", b"a:b", b"[::1", b"a,b\\", b"<a>", b"a:80:80", b'"a"', b"a?b", b"a#b")),
    *(Case(f"the Host {host!r}", get(host=b"Host: " + host + b"\r\n"), (200,))
      for host in (b"", b"a", b"a.example:8071", b"127.0.0.1:80", b"[::1]:8071", b"a:", b"a_b", b"A.Example.")),
]  # fmt: skip

FRAMING = [
    *(Case(f"the length {size!r}", post(b"abcd", length(size)) + SNEAKED, (400,), True)
      for size in (b"+4", b"-4", b"4a", b"0x4", b"4, 4", b"4 4", b"", b"4.0", b"4_0", b"\xb2",
                   b"18446744073709551616", b"4;")),
    Case("two equal lengths", post(b"abcd", length(4), length(4)) + SNEAKED, (400,), True),
    Case("two lengths", post(b"abcd", length(4), length(5)) + SNEAKED, (400,), True),
    Case("a length and chunks", post(b"0\r\n\r\n", length(5), CHUNKED) + SNEAKED, (400,), True),
    Case("chunks and a length", post(b"0\r\n\r\n", CHUNKED, length(5)) + SNEAKED, (400,), True),
    Case("chunks in an old request",
         b"POST /v1/sfu HTTP/1.0\r\n" + H + CHUNKED + b"\r\n\r\n0\r\n\r\n" + SNEAKED, (400,), True),
    *(Case(f"the coding {coding!r}", post(b"0\r\n\r\n", b"Transfer-Encoding: " + coding) + SNEAKED, (400,), True)
      for coding in (b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity", b"xchunked",
                     b"chunked;q=1", b"chunked x", b"\x0bchunked", b'"chunked"', b"", b",chunked")),
    *(Case(f"the coding line {line!r}", post(b"0\r\n\r\n", line) + SNEAKED, (400,), True)
      for line in (b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"Transfer-Encoding\t: chunked",
                   b"Transfer-Encoding: chunked\r\n Transfer-Encoding: x", b"Transfer\rEncoding: chunked",
                   b"Transfer-Encoding: \r\n chunked")),
    Case("two codings", post(b"0\r\n\r\n", CHUNKED, CHUNKED) + SNEAKED, (400,), True),
    Case("a coding in capitals", post(b"0\r\n\r\n", b"Transfer-Encoding: CHUNKED") + NOOP, (401, 200)),
    *(Case(f"the chunk {chunk!r}", post(chunk, CHUNKED) + SNEAKED, (400,), True)
      for chunk in (b"2\nab\r\n0\r\n\r\n", b"2\r\nabc\r\n0\r\n\r\n", b"g\r\n\r\n", b"-1\r\n\r\n",
                    b"+2\r\nab\r\n0\r\n\r\n",
                    b"2 \r\nab\r\n0\r\n\r\n"[:2] + b"x\r\nab\r\n0\r\n\r\n", b"0\n\n", b"0x2\r\nab\r\n0\r\n\r\n",
                    b"ffffffffffffffff1\r\nab", b"2\r\nab\n0\r\n\r\n", b"\r\n\r\n", b"2\rab\r\n0\r\n\r\n")),
    Case("an upgrade with a body",
         post(b"abc", length(3), b"Connection: upgrade", b"Upgrade: h2c") + SNEAKED, (400,), True),
    Case("an upgrade with chunks",
         post(b"0\r\n\r\n", CHUNKED, b"Connection: upgrade", b"Upgrade: h2c") + SNEAKED, (400,), True),
]  # fmt: skip

BROKEN = [
    *(Case(f"the line {line!r}", line + b"\r\n" + H + b"\r\n", (400,), True)
      for line in (b"GET /v1/noop", b"GET /v1/noop HTTP/1.2",
                   b"GET /v1/noop HTTP/2.0", b"GET /v1/noop HTTP/0.9", b"GET /v1/noop HTTP/9",
                   b"GET /v1/noop http/1.1",
                   b"GET\t/v1/noop HTTP/1.1", b"GET /v1 noop HTTP/1.1", b"GET /v1/noop HTTP/1.1 x",
                   b"GET v1/noop HTTP/1.1", b"GET ?a HTTP/1.1", b"GET http:// HTTP/1.1", b"GET /\x00 HTTP/1.1",
                   b"GET /\xff HTTP/1.1", b"PRI * HTTP/2.0", b"HTTP/1.1 200 OK", b"{}", b"\x00")),
    *(Case(f"the header {line!r}", get(b"/v1/noop", line), (400,), True)
      for line in (b"a b: c", b"a", b": b", b"a\x00: b", b"a: \x00", b" a: b", b"a: b\r\n c", b"a: b\rc", b"a(b): c",
                   b"a: \x01", b"a: \x7f", b"\xffa: b", b"a:b\nc:d")),
    *(Case(f"the end {end!r}", b"GET /v1/noop HTTP/1.1" + end + SNEAKED, (400,), True)
      for end in (b"\n" + H + b"\n", b"\r\n" + H + b"\n", b"\nHost: a\n\n", b"\r\r\n" + H + b"\r\n")),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,), True),
    Case("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", (400,), True),
    Case("garbage behind a request", NOOP + b"\x00\x01\x02\r\n\r\n", (200, 400), True),
    Case("garbage behind two requests", NOOP * 2 + b"garbage\r\n\r\n" + SNEAKED, (200, 200, 400), True),
]  # fmt: skip

LONG = [
    Case("a target of 9 kB", get(b"/" + b"x" * 9_000), (414,), True),
    Case("a target of 40 kB", get(b"/" + b"x" * 40_000), (414,), True),
    Case("a query of 9 kB behind a request", NOOP + get(b"/v1/noop?" + b"x" * 9_000), (200,), True),
    Case("40 kB behind a request", NOOP + get(b"/v1/noop?" + b"x" * 40_000), (200,), True),
    Case("a method of 40 kB", b"G" * 40_000, (400, 414), True),
    Case("a header of 40 kB", get(b"/v1/noop", b"a: " + b"x" * 40_000), (431,), True),
    Case("a header's name of 40 kB", get(b"/v1/noop", b"x" * 40_000 + b": a"), (431,), True),
    Case("100 headers", get(b"/v1/noop", *[b"a%d: b" % n for n in range(99)]), (200,)),
    Case("101 headers", get(b"/v1/noop", *[b"a%d: b" % n for n in range(100)]), (431,), True),
    Case("5,000 headers", get(b"/v1/noop", *[b"a:" for _ in range(5_000)]), (431,), True),
    Case("a body of 64 KiB", post(b" " * 65_536, length(65_536)) + NOOP, (401, 200)),
    Case("a body of a byte more", post(b" " * 65_537, length(65_537)), (413,), True),
    Case("a body that never comes", post(b"", length(10**12)), (413,), True),
    Case("chunks of a body too long", post(b"10000\r\n" + b"x" * 65_536 + b"\r\n1\r\nx\r\n", CHUNKED), (413,), True),
    Case("one chunk too long", post(b"ffffff\r\n" + b"x" * 70_000, CHUNKED), (413,), True),
    Case("trailers without end", post(b"0\r\n" + b"a: b\r\n" * 20_000, CHUNKED), (413, 431), True),
    Case("a trailer without end", post(b"0\r\na: " + b"b" * 200_000, CHUNKED), (413,), True),
    Case("a chunk extension without end", post(b"2;" + b"b" * 200_000, CHUNKED), (413,), True),
    Case("chunks of a byte", post(b"1\r\nx\r\n" * 30_000, CHUNKED), (413,), True),
]  # fmt: skip

SLOW = [
    Case("half a request", NOOP[:20], (408,), True),
    Case("half a body", post(b"a", length(10)), (408,), True),
    Case("half a request behind one", NOOP + NOOP[:20], (200, 408), True),
    Case("half a chunk", post(b"5\r\nab", CHUNKED), (408,), True),
    Case("nothing", b"", (), True),
]

ALTERNATIVES = {"a method of 40 kB", "trailers without end"}
"""What is found first depends on how the bytes arrive; one of the statuses is the answer."""

CASES = [*PLAIN, *METHODS, *HOSTS, *FRAMING, *BROKEN, *LONG]


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A running gateway with an SFU."""
    directory = tmp_path_factory.mktemp("wire")
    with (
        RedisServer(any_binary(), directory) as redis,
        Deployment(redis, directory, log__level="warning") as deployment,
    ):
        replica = deployment.replica()
        deployment.fleet(1, [replica])
        eventually_sync(lambda: replica.selectable() == 1)
        yield replica


@contextmanager
def connected(replica: Replica) -> Iterator[socket.socket]:
    """A connection to the gateway."""
    with socket.create_connection(
        (HOST, int(replica.url.rpartition(":")[2])), timeout=PATIENCE_S
    ) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


class Answers:
    """The answers on a connection, one by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next(self, *, is_head: bool = False) -> tuple[int, dict[str, str], bytes] | None:
        """The next answer; `None` when the connection has ended."""
        while b"\r\n\r\n" not in self._rest:
            if not self._receive():
                return None
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = 0 if is_head else int(headers.get("content-length", 0))
        while len(self._rest) < size and self._receive():
            pass
        body, self._rest = self._rest[:size], self._rest[size:]
        return int(status.split()[1]), headers, body

    def _receive(self) -> bool:
        try:
            data = self._connection.recv(65_536)
        except ConnectionError:
            return False
        self._rest += data
        return bool(data)


def test_there_are_enough_cases_and_no_two_of_a_name() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES + SLOW}) == len(CASES + SLOW)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bytes_get_the_answers_that_they_should(replica: Replica, case: Case) -> None:
    _check(replica, case)


def test_what_does_not_arrive_is_given_up(replica: Replica) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        list(pool.map(lambda case: _check(replica, case), SLOW))


def _check(replica: Replica, case: Case) -> None:
    with connected(replica) as connection:
        with suppress(ConnectionError):
            connection.sendall(case.sent)
        answers = Answers(connection)
        statuses: list[int] = []
        wanted = 1 if case.name in ALTERNATIVES else len(case.statuses)
        while len(statuses) < wanted and (answer := answers.next(is_head=case.sent.startswith(b"HEAD"))):
            status, headers, body = answer
            statuses.append(status)
            assert headers["x-request-id"]
            if status >= 400 and not case.sent.startswith(b"HEAD"):
                assert headers["content-type"] == "application/problem+json", body
                assert f'"status":{status}'.encode() in body.replace(b" ", b"")
            if status == 405:
                assert headers["allow"]
        if case.name in ALTERNATIVES:
            assert statuses[0] in case.statuses
        else:
            assert tuple(statuses) == case.statuses
        if case.is_closed:
            assert answers.next() is None
        else:
            connection.sendall(get(b"/livez"))
            last = answers.next()
            assert last is not None
            assert last[0] == 200


# A channel request, cut


def channel_request(issuer: str) -> bytes:
    """A request as Odoo sends it."""
    return get(
        b"/v1/channel?country=be",
        b"User-Agent: python-requests/2.31.0",
        b"Accept: */*",
        b"Authorization: jwt " + channel_token(issuer).encode(),
    )


def test_a_channel_request_cut_at_any_byte_is_one_request(replica: Replica) -> None:
    request = channel_request("https://odoo.example:channel:cut")
    uuids = set()
    with connected(replica) as connection:
        answers = Answers(connection)
        for cut in range(1, len(request)):
            connection.sendall(request[:cut])
            connection.sendall(request[cut:])
            answer = answers.next()
            assert answer is not None
            assert answer[0] == 200, answer
            uuids.add(answer[2])
    assert len(uuids) == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_channel_request_abandoned_at_any_byte_leaves_nothing(replica: Replica, is_reset: bool) -> None:
    before = psutil.Process(replica.process.pid).num_fds()
    request = channel_request(f"https://odoo.example:channel:abandoned-{is_reset}")
    for cut in range(len(request) + 1):
        with connected(replica) as connection:
            connection.sendall(request[:cut])
            if is_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually_sync(lambda: _places_taken(replica) == 0)
    eventually_sync(lambda: psutil.Process(replica.process.pid).num_fds() <= before + 2)
    with connected(replica) as connection:
        connection.sendall(request)
        answer = Answers(connection).next()
    assert answer is not None
    assert answer[0] == 200
    assert "Traceback" not in replica.process.output


def _places_taken(replica: Replica) -> float:
    text = replica.client.get("/metrics").text
    return sum(map(float, re.findall(r"^sfu_gateway_requests_in_progress{.*} (\S+)$", text, re.MULTILINE)))


# Memory


def test_pipelines_that_nobody_reads_take_little_memory(replica: Replica, tmp_path: Path) -> None:
    process = psutil.Process(replica.process.pid)
    before = process.memory_info().rss
    with socket.create_connection((HOST, int(replica.url.rpartition(":")[2]))) as connection:
        connection.setblocking(False)
        sent = 0
        with suppress(ConnectionError):
            while sent < 64 * 2**20:
                try:
                    sent += connection.send(get(b"/a") * 2_000)
                except BlockingIOError:
                    break
        health = replica.client.get("/v1/health", timeout=2)
    assert health.status_code == 200
    assert process.memory_info().rss - before < 30 * 2**20


def test_a_stranger_with_bad_tokens_is_slowed_down_and_a_neighbour_is_not(replica: Replica) -> None:
    bad = {"Authorization": "Bearer bad"}
    statuses = [replica.client.get("/v1/channel", headers=bad).status_code for _ in range(40)]
    assert statuses[:15] == [401] * 15
    assert statuses[-1] == 429
    refused = replica.client.get("/v1/channel", headers=bad)
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("too_many_failures", "5")
    assert replica.ask().status_code == 200
    assert replica.heartbeat("http://127.0.0.1:1", REGISTRATION_KEY).status_code == 200


def test_bodies_that_do_not_come_take_no_places(replica: Replica) -> None:
    connections = []
    try:
        for _ in range(300):
            connection = socket.create_connection((HOST, int(replica.url.rpartition(":")[2])))
            connection.sendall(post(b"", length(10), path=b"/v1/disconnect"))
            connections.append(connection)
        assert _places_taken(replica) == 0
        assert [replica.ask(f"https://odoo.example:channel:{n}").status_code for n in range(10)] == [200] * 10
    finally:
        for connection in connections:
            connection.close()
