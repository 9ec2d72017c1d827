"""The saved corpus and every way to cut a few requests: what fuzzing once found stays found."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, protocol_target
from tests.support.wire import converse

CORPUS = Path(__file__).parent / "corpus"

PIPELINE = (
    b"GET /a HTTP/1.1\r\nHost: gateway\r\n\r\n"
    b"POST /b HTTP/1.1\r\nHost: gateway\r\nContent-Length: 8\r\n\r\n\r\n\r\nabcd"
    b"POST /c HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"6\r\n\r\n\r\nxy\r\n2;x=y\r\nab\r\n0\r\nX: y\r\n\r\n"
    b"\r\nGET /d HTTP/1.0\r\nHost: gateway\r\nConnection: keep-alive\r\n\r\n"
)
TOLD = ["GET /a 0", "POST /b 8", "POST /c 8", "GET /d 0"]


def saved(target: str) -> list[str]:
    """Names of the inputs that were kept for a target."""
    return sorted(path.name for path in (CORPUS / target).iterdir())


fragments = st.sampled_from(
    [
        *(
            b"GET / HTTP/1.1\r\n",
            b"POST /v1/sfu HTTP/1.1\r\n",
            b"HEAD / HTTP/1.0\r\n",
            b"CONNECT a:1 HTTP/1.1\r\n",
        ),
        *(
            b"Host: a\r\n",
            b"Content-Length: 4\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
        ),
        *(
            b"Connection: close\r\n",
            b"Connection: upgrade\r\nUpgrade: h2c\r\n",
            b"\r\n",
            b"\r",
            b"\n",
            b"abcd",
        ),
        *(b"4\r\nabcd\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"\x00", b"x" * 300, b" : ", b"\r\n\r\n"),
    ]
)


@pytest.mark.parametrize("name", saved("protocol"))
def test_no_saved_request_confuses_the_protocol(name: str) -> None:
    asyncio.run(TARGETS["protocol"]((CORPUS / "protocol" / name).read_bytes()))


@pytest.mark.parametrize("name", saved("answer"))
def test_no_saved_answer_confuses_the_forwarder(name: str) -> None:
    asyncio.run(TARGETS["answer"]((CORPUS / "answer" / name).read_bytes()))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64])
async def test_a_pipeline_in_pieces_of_any_size_is_the_same_requests(size: int) -> None:
    pieces = [PIPELINE[i : i + size] for i in range(0, len(PIPELINE), size)]
    said = await converse(pieces)
    assert (said.requests, said.most_at_once) == (TOLD, 1)
    assert [answer.body.decode() for answer in said.answers] == TOLD


async def test_a_pipeline_cut_at_any_byte_is_the_same_requests() -> None:
    for cut in range(1, len(PIPELINE)):
        assert (await converse([PIPELINE[:cut], PIPELINE[cut:]])).requests == TOLD, cut


async def test_a_pipeline_that_ends_at_any_byte_leaves_nothing_behind() -> None:
    for cut in range(len(PIPELINE)):
        said = await converse([PIPELINE[:cut]], is_aborted=True)
        assert (said.held_afterwards, said.requests) == (0, TOLD[: len(said.requests)])


@settings(deadline=None, max_examples=300)
@given(st.lists(fragments, max_size=14).map(b"".join))
async def test_no_mix_of_requests_is_read_differently_in_pieces(data: bytes) -> None:
    await protocol_target(data)
