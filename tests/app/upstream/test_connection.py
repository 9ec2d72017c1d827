"""One connection, its transport played: answers in any pieces, answers that are none, too much, too little."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.connection import (
    MAX_HEAD_BYTES,
    Answer,
    AnswerTooLong,
    ConnectionDropped,
    MalformedAnswer,
    SfuConnection,
)
from tests.support.scripted_server import answer

MAX_BYTES = 1_000
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class PlayedTransport(asyncio.Transport):
    """Remembers what was sent and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Any] = []
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


class Link:
    """A connection that stands, and what became of it."""

    def __init__(self) -> None:
        self.transport = PlayedTransport()
        self.lost: list[SfuConnection] = []
        self.connection = SfuConnection(self.lost.append)
        self.connection.connection_made(self.transport)

    def ask(self) -> asyncio.Future[Answer]:
        """Send a request."""
        return self.connection.ask(REQUEST, MAX_BYTES)

    def receive(self, *pieces: bytes) -> None:
        """Have `pieces` arrive, as long as the connection is not closed."""
        for piece in pieces:
            if not self.transport.is_aborted:
                self.connection.data_received(piece)

    def end(self, error: Exception | None = None) -> None:
        """Have the connection end: with `error`, or because the other side has closed it."""
        if error is None and not self.transport.is_aborted:
            self.connection.eof_received()
        self.connection.connection_lost(error)


@pytest.fixture
async def link() -> Link:
    """A connection that stands."""
    return Link()


def cut(draw: st.DrawFn, text: bytes) -> list[bytes]:
    """Cut `text` at any places."""
    places = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=12)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """Write `body` in chunks, with an extension and a trailer now and then."""
    chunks = cut(draw, body) if len(body) > 1 else [body] * bool(body)
    extension = draw(st.sampled_from([b"", b";name=value"]))
    trailer = draw(st.sampled_from([b"", b"Trailer: x\r\n"]))
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def pieces_of_an_answer(draw: st.DrawFn) -> tuple[list[bytes], Answer, bool]:
    """Draw an answer in pieces, what it says, and whether it ends with its connection."""
    status = draw(st.sampled_from([200, 201, 302, 401, 404, 500, 503]))
    body = draw(st.binary(max_size=300))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    version = draw(st.sampled_from([b"1.1", b"1.0"]))
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * draw(st.integers(0, 2))
    head = b"HTTP/%s %d Said so\r\nX-Empty:\r\nDate: today\r\n" % (version, status)
    if framing == "length":
        text = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    elif framing == "chunked":
        text = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(draw, body)
    else:
        text = head + b"\r\n" + body
    return cut(draw, interim + text), Answer(status, body, b"today"), framing == "close"


# Answers


@given(pieces_of_an_answer())
async def test_an_answer_is_the_same_in_whatever_pieces_it_arrives(
    drawn: tuple[list[bytes], Answer, bool],
) -> None:
    pieces, expected, ends_with_the_connection = drawn
    link = Link()
    coming = link.ask()
    link.receive(*pieces[:-1])
    assert not coming.done() or ends_with_the_connection or not pieces[-1].strip()
    link.receive(pieces[-1])
    assert coming.done() is not ends_with_the_connection
    if ends_with_the_connection:
        assert not link.connection.is_reusable
        link.end()
    assert coming.result() == expected


@given(st.lists(pieces_of_an_answer(), min_size=1, max_size=4))
async def test_one_answer_after_the_other_comes_to_its_own_request(
    drawn: list[tuple[list[bytes], Answer, bool]],
) -> None:
    link = Link()
    for pieces, expected, ends_with_the_connection in drawn:
        coming = link.ask()
        link.receive(*pieces)
        if not link.connection.is_reusable:
            link.end()
            assert coming.result() == expected
            return
        assert not ends_with_the_connection
        assert coming.result() == expected


@given(pieces_of_an_answer(), st.data())
async def test_part_of_an_answer_is_none(
    drawn: tuple[list[bytes], Answer, bool], data: st.DataObject
) -> None:
    pieces, _, ends_with_the_connection = drawn
    whole = b"".join(pieces)
    link = Link()
    coming = link.ask()
    link.receive(whole[: data.draw(st.integers(0, len(whole) - 1))])
    link.end(ConnectionResetError() if ends_with_the_connection else None)
    assert isinstance(coming.exception(), ConnectionDropped | MalformedAnswer)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=6), st.booleans())
async def test_no_bytes_whatever_do_worse_than_an_error(pieces: list[bytes], begins_well: bool) -> None:
    link = Link()
    coming = link.ask()
    link.receive(b"HTTP/1.1 200 OK\r\n" * begins_well, *pieces)
    link.end()
    assert coming.done()
    if coming.exception() is not None:
        assert isinstance(coming.exception(), ConnectionDropped | MalformedAnswer | AnswerTooLong)


@pytest.mark.parametrize(
    ("text", "is_reusable"),
    [
        (answer(), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True),
        (answer(b"", b"Connection: close"), False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", True),
        (answer() + b"HTTP/1.1 200 OK\r\n", False),
        (answer() + b"\x00", False),
        (answer() + answer(b"another", status=b"500 Oh"), False),
        (answer(b"{}", b"Connection: close") + b"more", False),
    ],
)
async def test_a_connection_serves_again_when_both_sides_agree(
    link: Link, text: bytes, is_reusable: bool
) -> None:
    coming = link.ask()
    link.receive(text)
    assert coming.result()[0] in (200, 204, 304)
    assert coming.result()[1] in (b'{"uuid": "x", "url": "http://sfu"}', b"{}", b"")
    assert link.connection.is_reusable is is_reusable


async def test_after_the_other_side_has_closed_nothing_is_sent(link: Link) -> None:
    link.connection.eof_received()
    assert not link.connection.is_reusable
    assert isinstance(link.ask().exception(), ConnectionDropped)
    assert link.transport.sent == []


async def test_a_request_is_sent_in_one_piece(link: Link) -> None:
    link.ask()
    assert link.transport.sent == [REQUEST]


async def test_a_second_request_is_not_sent_before_the_first_is_answered(link: Link) -> None:
    coming = link.ask()
    assert not link.connection.is_reusable
    assert isinstance(link.ask().exception(), ConnectionDropped)
    assert link.transport.sent == [REQUEST]
    link.receive(answer(b"first"))
    assert coming.result() == Answer(200, b"first")


# What is not to be had


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 050 Early\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_an_error_and_closes(link: Link, text: bytes) -> None:
    coming = link.ask()
    link.receive(text)
    assert isinstance(coming.exception(), MalformedAnswer)
    assert link.transport.is_aborted


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "more"),
    [
        (HEAD, b"X-More: of the same\r\n"),
        (HEAD + b"X: ", b"x" * 100),
        (b"HTTP/1.1 200 ", b"O" * 100),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (CHUNKED + b"0\r\n", b"X-More: of the same\r\n"),
        (CHUNKED + b"0\r\nX: ", b"x" * 100),
        (CHUNKED + b"1;", b"x" * 100),
    ],
)
async def test_heads_trailers_and_the_like_have_a_limit(link: Link, beginning: bytes, more: bytes) -> None:
    coming = link.ask()
    link.receive(beginning, *[more] * (MAX_HEAD_BYTES // len(more) + 1))
    assert isinstance(coming.exception(), MalformedAnswer)
    assert link.transport.is_aborted


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES, 4 * MAX_HEAD_BYTES])
async def test_a_head_that_arrives_at_once_has_the_same_limit(link: Link, size: int) -> None:
    coming = link.ask()
    link.receive(answer(b"{}", b"X: " + b"x" * size))
    assert isinstance(coming.exception(), MalformedAnswer)


async def test_a_head_up_to_the_limit_is_read(link: Link) -> None:
    coming = link.ask()
    link.receive(answer(b"{}", b"X: " + b"x" * (MAX_HEAD_BYTES - 200)))
    assert coming.result() == Answer(200, b"{}")


BODY = b"x" * MAX_BYTES


@pytest.mark.parametrize(
    "head_and_body",
    [
        lambda body: answer(body),
        lambda body: CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        lambda body: CHUNKED + b"1\r\nx\r\n" * len(body) + b"0\r\n\r\n",
        lambda body: HEAD + b"\r\n" + body,
    ],
)
async def test_a_body_has_the_size_that_was_asked_for_and_no_more(head_and_body: Any) -> None:
    link = Link()
    coming = link.ask()
    link.receive(head_and_body(BODY))
    link.end()
    assert coming.result() == Answer(200, BODY)
    link = Link()
    coming = link.ask()
    link.receive(head_and_body(BODY + b"x"))
    error = coming.exception()
    assert isinstance(error, AnswerTooLong)
    assert error.status == 200
    assert link.transport.is_aborted


# Nobody's answers


async def test_bytes_that_nobody_asked_for_close(link: Link) -> None:
    link.receive(answer())
    assert link.transport.is_aborted
    assert not link.connection.is_reusable


async def test_a_second_answer_closes_and_is_never_given_to_anyone(link: Link) -> None:
    coming = link.ask()
    link.receive(answer(b"first"))
    link.receive(answer(b"second"))
    assert link.transport.is_aborted
    assert coming.result() == Answer(200, b"first")
    assert isinstance(link.ask().exception(), ConnectionDropped)


async def test_an_answer_to_one_who_left_closes(link: Link) -> None:
    link.ask().cancel()
    link.receive(answer())
    assert link.transport.is_aborted


async def test_whoever_waits_when_it_is_closed_is_told(link: Link) -> None:
    coming = link.ask()
    link.connection.close()
    assert isinstance(coming.exception(), ConnectionAbortedError)


async def test_whoever_waits_too_long_is_told(link: Link) -> None:
    coming = link.ask()
    link.connection.expire()
    assert isinstance(coming.exception(), TimeoutError)
    link.receive(answer())
    assert link.transport.is_aborted


async def test_its_owner_hears_of_its_end_once(link: Link) -> None:
    link.end()
    assert link.lost == [link.connection]
    assert link.connection.lost.done()


async def test_an_end_before_the_first_byte_is_told_from_one_after_it(link: Link) -> None:
    coming = link.ask()
    link.end(ConnectionResetError())
    assert isinstance(coming.exception(), ConnectionDropped)
    other = Link()
    coming = other.ask()
    other.receive(b"H")
    other.end(ConnectionResetError())
    assert isinstance(coming.exception(), MalformedAnswer)
