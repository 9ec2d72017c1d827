"""HTTP/1.1 for a port that faces strangers: uvicorn's protocol with limits on how requests arrive and answers leave.

uvicorn starts the application at the end of a head, parses requests ahead of the one that runs, waits for ever for
slow callers, and takes heads and bodies of any length. This protocol has other rules:

* the application starts when the whole request is there, within `RECEIVE_SECONDS` and the limits below;
* one request of a connection runs at a time. What comes behind it waits unparsed, at most `MAX_AHEAD_BYTES`, and
  then the connection is no longer read;
* what is wrong with a request is answered with a problem document, behind the answers before it, and the
  connection ends. Since nothing is parsed ahead, no answer is under way when a request turns out to be wrong;
* an answer that is not read for `WRITE_SECONDS` ends the connection;
* what all connections hold together is bounded (`app.server.held_bytes`).

Heads and chunked bodies end with an empty line, other bodies by `Content-Length`: the bytes are handed to the parser
up to there and no further. The parser alone decides what they mean; where it sees the end of a message elsewhere,
the request is refused.
"""

import asyncio
import re
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.api.middleware.body_limit import MAX_BODY_BYTES
from app.api.middleware.direct_routes import WHOLE_RESPONSE
from app.api.problems import problem_bytes
from app.api.request_context import request_id_of
from app.errors import BadRequest, BodyTooLarge, GatewayError, HeadTooLarge, RequestTimedOut, TargetTooLong
from app.server.held_bytes import HeldBytes

RECEIVE_SECONDS: Final = 5.0
"""Time from the connection, or from the first byte of a further request, to the last byte of the request."""

WRITE_SECONDS: Final = 10.0
"""Time in which the caller has to read an answer, or the part of it that fills the transport's buffer."""

LINGER_SECONDS: Final = 1.0
"""Time in which the caller has to read an error: closing with unread bytes would reset the connection before."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and headers. Odoo's are under 2 KiB; tokens may have 8."""

MAX_TARGET_BYTES: Final = 8 * 1024
"""Path and query (RFC 9110 section 4.1 recommends to take 8,000 octets)."""

MAX_HEADERS: Final = 100
"""Many short headers take far more memory than their bytes."""

MAX_CHUNKED_BYTES: Final = MAX_BODY_BYTES + MAX_HEAD_BYTES
"""A chunked body with its framing and trailers."""

MAX_AHEAD_BYTES: Final = 4 * 1024
"""Bytes behind a request that runs: some twenty small ones. No proxy and no client of ours sends any. With more, the
connection ends after the answer to the request that runs, and what came behind it is not served."""

MAX_UNSENT_BYTES: Final = 16 * 1024
"""Unsent bytes beyond which an answer counts as not read."""

_EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE_RESPONSE: {}}

_END: Final = b"\r\n\r\n"
_CR: Final = ord("\r")
"""A number: looking for `bytes` in `bytes` makes and drops a `TypeError` first."""
_LF: Final = ord("\n")
_FRAGMENT: Final = ord("#")
_UNTIL_EMPTY_LINE: Final = -1
_OBJECT_BYTES: Final = 200
"""Memory that Python needs for a header beside its bytes."""

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
_VERSIONS: Final = ("1.1", "1.0")
_NOT_PLAIN: Final = frozenset({b"connection", b"transfer-encoding"})


class _Unacceptable(Exception):
    """Ends the parser's work, with the problem to answer."""

    def __init__(self, problem: GatewayError) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class _ReadControl(FlowControl):
    """uvicorn's flow control. While bytes wait behind a request, only this protocol resumes reading."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class _Cycle(RequestResponseCycle):
    """A request and its answer; an answer of known length leaves with its head, in one write.

    uvicorn writes head and body apart: two system calls, and two packets for the caller to read.
    """

    _head = b""

    async def send(self, message: Any) -> None:
        if self._head:
            head, self._head = self._head, b""
            body = message.get("body", b"")
            if len(body) == self.expected_content_length and not message.get("more_body") and self._may_write:
                self._write_whole(head + body)
                return
            self.transport.write(head)
        elif message["type"] == "http.response.start" and not self.response_started and self._may_write:
            head = self._head_of(message)
            if head:
                self.response_started, self.chunked_encoding = True, False
                self.waiting_for_100_continue = False
                if "body" in message:
                    self._write_whole(head + message["body"])
                else:
                    self._head = head
                return
        await super().send(message)
        if message["type"] == "http.response.start" and "body" in message:
            await super().send({"type": "http.response.body", "body": message["body"]})

    def _write_whole(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    @property
    def _may_write(self) -> bool:
        return not self.flow.write_paused and not self.disconnected

    def _head_of(self, message: Any) -> bytes:
        """Return the head of an answer of known length; of any other one nothing, uvicorn writes it."""
        length = None
        content = [STATUS_LINE[message["status"]]]
        for name, value in (*self.default_headers, *message["headers"]):
            if name == b"content-length":
                length = value
            elif name in _NOT_PLAIN or _CR in value or _LF in value:
                return b""
            content += (name, b": ", value, b"\r\n")
        if length is None or self.scope["method"] == "HEAD":
            return b""
        self.expected_content_length = int(length)
        content.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(content)


class GuardedState(ServerState):
    """The state that the connections of one server share."""

    def __init__(self) -> None:
        super().__init__()
        self.held = HeldBytes()


class GuardedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    flow: _ReadControl
    _ahead = b""
    """Bytes behind the request that runs."""
    _is_busy = False
    """Whether a request has arrived whole and its answer is not complete."""
    _is_over = False
    """Whether the connection waits for its last answer to be read. Further bytes are dropped."""
    _left = _UNTIL_EMPTY_LINE
    """Bytes of the body that have not arrived yet."""
    _is_in_head = True
    _is_within = False
    """Whether a message has begun and not ended yet."""
    _head_bytes = 0
    _received_bytes = 0
    """Bytes of the present message."""
    _has_line = False
    """Whether the request line is complete; kept only for heads that come in pieces."""
    _seam = b""
    """The last bytes of a piece: an empty line may lie between two pieces."""
    _header_count = 0
    _waits_for_body = False
    """Whether the head of a request is complete, and the application has not started."""
    _receive_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _linger_timer: asyncio.TimerHandle | None = None
    _is_holding = False
    _idle_since = 0.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._held = server_state.held if isinstance(server_state, GuardedState) else HeldBytes()

    @property
    def is_waiting(self) -> bool:
        """Whether bytes wait behind the request that runs."""
        return bool(self._ahead)

    @property
    def is_ending(self) -> bool:
        """Whether further bytes are dropped."""
        return self._is_over

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _ReadControl(transport)
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self._start_receive_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._ahead = b""
        self._waits_for_body = False
        for timer in (self._receive_timer, self._write_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        self._held.release(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._account()
        self._start_write_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._account()

    # Bytes that come in

    def data_received(self, data: bytes) -> None:
        if self._is_busy:
            self._keep_ahead(data)
        elif not self._is_over:
            self._feed(data)

    def on_response_complete(self) -> None:
        if self._ahead:  # a caller that has left is noticed by reading, which comes before the next request
            self.flow.is_held = False
            self.loop.call_soon(self.loop.call_soon, self._go_on)
        else:
            self._is_busy = False
        self.server_state.total_requests += 1
        if self.transport.is_closing():  # it waits until all is sent
            self._start_write_timer()
            return
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive_for(self.timeout_keep_alive)

    def _keep_alive_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough. One timer serves many requests."""
        self.timeout_keep_alive_task = None
        if self._is_busy or self._is_over or self._receive_timer is not None:
            return
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._keep_alive_for(left_s)
        elif self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _go_on(self) -> None:
        """Process the bytes behind the request that was just answered."""
        ahead, self._ahead = self._ahead, b""
        if self._is_over or self.transport.is_closing():
            return
        self._is_busy = self.flow.is_held = False
        self.flow.resume_reading()
        self.data_received(ahead)

    def _keep_ahead(self, data: bytes) -> None:
        self.flow.pause_reading()
        self.flow.is_held = True
        if len(self._ahead) + len(data) > MAX_AHEAD_BYTES:
            self._ahead = b""
            self.cycle.keep_alive = False
        elif self.cycle.keep_alive:
            self._ahead += data
            self._account()

    def _feed(self, data: bytes) -> None:
        """Give `data` to the parser, up to the end of the first request in it."""
        start = 0
        while start < len(data) and not self._is_over:
            if self._is_busy:
                self._keep_ahead(data[start:])
                return
            end = self._end_of_part(data, start)
            part = data if end - start == len(data) else data[start:end]
            if not self._parse(part):
                return
            start = end
        if not self._is_busy and not self._is_over:
            self._note_incomplete(data)

    def _end_of_part(self, data: bytes, start: int) -> int:
        """Return where the parser has to stop, so that it does not see the bytes of another request."""
        if self._left > 0:
            return min(len(data), start + self._left)
        if self._seam:
            found = (self._seam + data[start : start + 3]).find(_END)
            if found >= 0:
                return start + found + 4 - len(self._seam)
        found = data.find(_END, start)
        return len(data) if found < 0 else found + 4

    def _parse(self, part: bytes) -> bool:
        """Give `part` to the parser. Returns whether the connection goes on."""
        self._received_bytes += len(part)
        if self._is_in_head:
            self._head_bytes += len(part)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._end_with(self._head_problem(part))
                return False
        elif self._left > 0:
            self._left -= len(part)
        elif self._received_bytes - self._head_bytes > MAX_CHUNKED_BYTES:
            self._end_with(_body_too_large())
            return False
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:  # an ordinary request: no other protocol is spoken here
            self.parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError as error:
            self._end_with(_problem_of(error))
            return False
        if self._is_within and len(self.headers) > MAX_HEADERS:
            self._end_with(_too_many_headers())
            return False
        return True

    def _note_incomplete(self, data: bytes) -> None:
        """A part of a request is here. The rest has to arrive in time."""
        if self._receive_timer is None:
            self._start_receive_timer()
        if self._left == _UNTIL_EMPTY_LINE:
            self._seam = (self._seam + data[-3:])[-3:]
            self._has_line = self._has_line or (self._is_in_head and b"\n" in data.lstrip(b"\r\n"))
        self._account()

    def _head_problem(self, part: bytes) -> GatewayError:
        line = bytes(part).lstrip(b"\r\n").partition(b"\n")
        if not self._has_line and (not line[1] or len(line[0]) > MAX_TARGET_BYTES):
            return _target_too_long()
        return HeadTooLarge(f"request line and headers have more than {MAX_HEAD_BYTES} bytes")

    # What the parser says

    def on_message_begin(self) -> None:
        if self._is_busy:
            raise _Unacceptable(BadRequest("the request ends where its head does not say so"))
        self._is_within = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Take the place of uvicorn's, which knows upgrades and queues, and names no other class of cycles."""
        self._read_head()
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["http_version"], scope["method"] = version, parser.get_method().decode("ascii")
        raw_path, query = _target_of(self.url)
        path = raw_path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"], scope["query_string"] = raw_path, query
        scope["extensions"] = _EXTENSIONS
        if self.expect_100_continue and self._left:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.cycle = _Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self._waits_for_body = True

    def on_body(self, body: bytes) -> None:
        if len(self.cycle.body) + len(body) > MAX_BODY_BYTES:
            raise _Unacceptable(_body_too_large())
        self.cycle.body += body

    def on_message_complete(self) -> None:
        self._received()
        if self._waits_for_body:
            self._waits_for_body, self._is_busy = False, True
            self.cycle.more_body = False
            self.cycle.message_event.set()
            self._start_asgi_task(self.cycle, self.app)

    def _received(self) -> None:
        """The request has arrived whole, or the connection does not wait for it any longer."""
        if len(self.headers or ()) > self._header_count:
            del self.headers[self._header_count :]  # trailers are dropped: no proxy has checked them
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None
        self._is_in_head, self._is_within, self._has_line = True, False, False
        self._left, self._seam = _UNTIL_EMPTY_LINE, b""
        self._head_bytes = self._received_bytes = 0
        if self._is_holding:
            self._account()

    def _read_head(self) -> None:
        """Raise `_Unacceptable` for a head that the application must not see; find out how the body ends."""
        self._is_in_head, self._seam = False, b""
        if len(self.url) > MAX_TARGET_BYTES:
            raise _Unacceptable(_target_too_long())
        self._header_count = len(self.headers)
        if self._header_count > MAX_HEADERS:
            raise _Unacceptable(_too_many_headers())
        host = length = coding = None
        for name, value in self.headers:
            if name == b"host":
                if host is not None:
                    raise _Unacceptable(BadRequest("there is more than one Host header"))
                host = value
            elif name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                coding = value if coding is None else b"twice"
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise _Unacceptable(BadRequest("HTTP/1.1 and HTTP/1.0 are spoken here"))
        _check_host(host, version)
        self._left = self._body_length(length, coding, version)

    def _body_length(self, length: bytes | None, coding: bytes | None, version: str) -> int:
        """Return how many bytes the body has; `_UNTIL_EMPTY_LINE` when it is chunked."""
        if coding is not None:
            if coding.lower() != b"chunked":
                raise _Unacceptable(BadRequest("the only Transfer-Encoding taken is chunked"))
            if length is not None or version == "1.0" or self.parser.should_upgrade():
                raise _Unacceptable(BadRequest("Transfer-Encoding does not go with this request"))
            return _UNTIL_EMPTY_LINE
        size = int(length or 0)  # the parser ensures digits only, and one header only
        if size > MAX_BODY_BYTES:
            raise _Unacceptable(_body_too_large())
        if size and self.parser.should_upgrade():
            raise _Unacceptable(BadRequest("a request to upgrade has no body"))
        return size

    # Time and memory

    def _start_receive_timer(self) -> None:
        self._receive_timer = self.loop.call_later(RECEIVE_SECONDS, self._receive_timed_out)

    def _receive_timed_out(self) -> None:
        self._receive_timer = None
        if self._is_within:
            self._end_with(RequestTimedOut(f"the request did not arrive within {RECEIVE_SECONDS:g} s"))
        else:
            self.transport.close()

    def _start_write_timer(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def _account(self) -> None:
        """Update the bytes of this connection in the replica's table."""
        size = len(self._ahead) + self._received_bytes
        if self._received_bytes:
            size += _OBJECT_BYTES * len(self.headers or ())
        if self.flow.write_paused:
            size += self.transport.get_write_buffer_size()
        if size:
            self._is_holding = True
            self._held.hold(self, size, self.transport.abort)
        elif self._is_holding:
            self._is_holding = False
            self._held.release(self)

    # The end

    def _end_with(self, problem: GatewayError) -> None:
        """Answer with `problem` as the last thing on this connection."""
        if self._is_busy:  # the answer that is under way is the last thing
            self.cycle.keep_alive = False
            return
        if self._is_over or self.transport.is_closing():
            return
        self._is_over, self._waits_for_body = True, False
        request_id = request_id_of(cast("Scope", {"headers": self.headers or []}))
        self._write_problem(problem, request_id)
        self._received()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _write_problem(self, problem: GatewayError, request_id: str) -> None:
        head, body = problem_bytes(problem)
        self.transport.write(b"".join((head, request_id.encode("latin-1"), b"\r\n\r\n", body)))
        if (budgets := self.app_state.get("budgets")) is not None:
            budgets.early.note(problem, request_id)


def _problem_of(error: httptools.HttpParserError) -> GatewayError:
    """Return the problem to answer: of this protocol, or of the parser."""
    cause = error.__context__
    if isinstance(cause, _Unacceptable):
        return cause.problem
    return BadRequest("this is not a request of HTTP/1.1")


def _target_of(url: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target (RFC 9112 section 3.2)."""
    if url.startswith(b"/") and _FRAGMENT not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parts = httptools.parse_url(url)
    return parts.path, parts.query or b""


def _check_host(host: bytes | None, version: str) -> None:
    """RFC 9112 section 3.2."""
    if host is None:
        if version == "1.1":
            raise _Unacceptable(BadRequest("there is no Host header"))
    elif not _HOST.fullmatch(host):
        raise _Unacceptable(BadRequest("Host names no host"))


def _target_too_long() -> GatewayError:
    return TargetTooLong(f"path and query have more than {MAX_TARGET_BYTES} bytes")


def _too_many_headers() -> GatewayError:
    return HeadTooLarge(f"there are more than {MAX_HEADERS} headers")


def _body_too_large() -> GatewayError:
    return BodyTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")
