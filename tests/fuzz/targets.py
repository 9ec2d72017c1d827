"""What is fuzzed: the server's protocol, and the reader of SFUs' answers. Each target takes bytes and never fails."""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Final

from app.server.protocol import MAX_AHEAD_BYTES
from app.upstream.client import ForwardError, _channel
from app.upstream.connection import AnswerTooLong, ConnectionDropped, MalformedAnswer, SfuConnection
from tests.support.wire import Conversation, MemoryTransport, converse

MOST_BYTES: Final = MAX_AHEAD_BYTES // 2
"""With more, it would matter how the bytes are cut."""

MAX_ANSWER_BYTES: Final = 4 * 1024


async def protocol_target(data: bytes) -> None:
    """However the bytes are cut, requests and answers are the same, one at a time, and nothing is left behind."""
    data = data[:MOST_BYTES]
    whole = await converse([data])
    cut = data[0] + 1 if data else 1
    in_pieces = await converse([data[i : i + cut] for i in range(0, len(data), cut)])
    for said in (whole, in_pieces):
        assert said.most_at_once <= 1
        assert said.held_afterwards == 0
        assert all(answer.status < 500 for answer in said.answers), said
    assert _told(whole) == _told(in_pieces)


def _told(said: Conversation) -> tuple[list[str], list[int], bool]:
    return said.requests, [answer.status for answer in said.answers], said.is_over


async def answer_target(data: bytes) -> None:
    """An SFU's bytes become an answer of bounded size or one of the errors that the forwarder knows."""
    cut = data[0] + 1 if data else 1
    cuts = ([data] if data else [], [data[i : i + cut] for i in range(0, len(data), cut)])
    seen = [await _answer(pieces) for pieces in cuts]
    assert seen[0] == seen[1] or "later" in "".join(seen)


async def _answer(pieces: list[bytes]) -> str:
    transport = MemoryTransport()
    connection = SfuConnection(lambda _: None)
    connection.connection_made(transport)
    answer = connection.ask(b"GET /v1/channel HTTP/1.1\r\n\r\n", MAX_ANSWER_BYTES)
    for number, piece in enumerate(pieces):
        connection.data_received(piece)
        if transport.is_closing() or answer.done():
            later = "later " if number < len(pieces) - 1 else ""
            break
    else:
        later = ""
    connection.connection_lost(None)
    try:
        said = await answer
    except (AnswerTooLong, ConnectionDropped, MalformedAnswer, ConnectionAbortedError) as error:
        return later + type(error).__name__
    assert len(said.body) <= MAX_ANSWER_BYTES
    with suppress(ForwardError):
        channel = _channel(said)
        assert channel.uuid
        assert channel.url
    return f"{later}{said.status} {len(said.body)}"


TARGETS: Final[Mapping[str, Callable[[bytes], Coroutine[object, object, None]]]] = {
    "protocol": protocol_target,
    "answer": answer_target,
}
