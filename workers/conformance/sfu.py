"""Odoo and the gateway played against an SFU, and the clauses of docs/sfu.md that an SFU keeps.

Leaves a few empty channels behind, which the SFU closes when they have been idle.
"""

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from app.crypto.tokens import Key
from app.upstream.client import is_usable_url
from workers.conformance.clause import (
    Clauses,
    Violated,
    WrongKey,
    json_of,
    new_client,
    require,
    require_status,
)
from workers.conformance.played_sfu import unsigned

TOKEN_LIFE_SECONDS: Final = 30
CREATION_SECONDS: Final = 2.0
"""A gateway has 2.5 s for the whole request, and Odoo 3."""

CLAUSES: "Final[Clauses[PlayedOdoo]]" = Clauses()


class PlayedOdoo:
    """One Odoo with a discussion of its own; every token names that discussion unless told otherwise."""

    def __init__(self, client: httpx.AsyncClient, key: Key, clock: Callable[[], float]) -> None:
        """`clock` is in seconds since the epoch."""
        self._client = client
        self._key = key
        self._clock = clock
        self._discussion = secrets.token_hex(6)

    def issuer(self, number: int = 1) -> str:
        """Return the issuer of one of this Odoo's discussions."""
        return f"https://conformance-{self._discussion}.invalid:channel:{number}"

    def token(self, key: Key | None = None, **claims: Any) -> str:
        """Return a token that is good unless `key` or `claims` say otherwise; a claim of None is left out."""
        every = {"iss": self.issuer(), "exp": int(self._clock()) + TOKEN_LIFE_SECONDS} | claims
        return (key or self._key).sign({name: value for name, value in every.items() if value is not None})

    def in_seconds(self, seconds: float) -> int:
        """Return the time that far ahead, as a claim."""
        return int(self._clock() + seconds)

    async def get(self, path: str) -> httpx.Response:
        """Ask for `path` without credentials."""
        return await self._client.get(path)

    async def ask(
        self, token: str | None = None, *, scheme: str = "Bearer", query: str = "", forwarded_for: str = ""
    ) -> httpx.Response:
        """Ask for a channel, with a good token unless there is another one."""
        headers = {"Authorization": f"{scheme} {token or self.token()}"}
        if forwarded_for:
            headers["X-Forwarded-For"] = forwarded_for
        return await self._client.get(f"/v1/channel{query}", headers=headers)

    async def channel(self, token: str | None = None) -> tuple[str, str]:
        """Return uuid and url of a channel that must be given. Raises `Violated`."""
        answer = await self.ask(token)
        require_status(answer, 200)
        match json_of(answer):
            case {"uuid": str(uuid), "url": str(url)} if uuid and url:
                return uuid, url
        raise Violated("`uuid` and `url` are not both texts")

    async def entries(self) -> list[Any]:
        """Return what `/v1/stats` says of each channel. Raises `Violated`."""
        answer = await self.get("/v1/stats")
        require_status(answer, 200)
        document = json_of(answer)
        if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
            raise Violated("is not a JSON array of objects")
        return document

    async def stats(self) -> dict[str, int]:
        """Return how many people are in each channel, by uuid. Raises `Violated`."""
        return dict(_count_of(entry) for entry in await self.entries())

    async def disconnect(self, token: str) -> httpx.Response:
        """Send people out of channels: the body is the bare token."""
        return await self._client.post("/v1/disconnect", content=token.encode())


@asynccontextmanager
async def playing_odoo(
    url: str, key: Key, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[PlayedOdoo]:
    """Play Odoo against the SFU at `url`, whose key is `key`."""
    async with new_client(url) as client:
        yield PlayedOdoo(client, key, clock)


@CLAUSES.clause(
    "KEY-1",
    "A disconnect that names no channel, signed with the SFU's key, is answered 200: the key that was given is the "
    "SFU's.",
)
async def _key(odoo: PlayedOdoo) -> None:
    answer = await odoo.disconnect(odoo.token(iss=None, sessionIdsByChannel={}))
    if answer.status_code in (401, 403, 422):
        raise WrongKey(
            f"answered {answer.status_code}: --key (AUTH_KEY) is not this SFU's, or the clocks differ by more than "
            f"{TOKEN_LIFE_SECONDS} s"
        )
    require_status(answer, 200)


@CLAUSES.clause("SFU-1", '`GET /v1/noop` is answered 200 with `{"result": "ok"}`.', needs_key=False)
async def _noop(odoo: PlayedOdoo) -> None:
    answer = await odoo.get("/v1/noop")
    require_status(answer, 200)
    require(json_of(answer) == {"result": "ok"}, 'is not `{"result": "ok"}`')


@CLAUSES.clause(
    "SFU-2",
    "`GET /v1/stats` is answered 200 with an array, one entry per channel, each with `uuid` and "
    "`sessionsStats.count`.",
)
async def _stats(odoo: PlayedOdoo) -> None:
    uuid, _ = await odoo.channel()
    counts = await odoo.stats()
    require(uuid in counts, "a new channel is not in it")
    require(all(count >= 0 for count in counts.values()), "a count is negative")


@CLAUSES.clause(
    "SFU-3",
    "`GET /v1/channel` with a good token is answered 200 with the texts `uuid` and `url`, the latter a base "
    "URL of scheme http or https.",
)
async def _channel(odoo: PlayedOdoo) -> None:
    _, url = await odoo.channel()
    require(is_usable_url(url), "`url` is not an http(s) URL that the gateway passes on")


@CLAUSES.clause("SFU-4", "A channel is there within two seconds.")
async def _in_time(odoo: PlayedOdoo) -> None:
    started = time.monotonic()
    await odoo.channel()
    taken = time.monotonic() - started
    require(taken <= CREATION_SECONDS, f"it took {taken:.1f} s")


@CLAUSES.clause("SFU-5", "The word before the token does not matter: `Bearer` or `jwt`.")
async def _scheme_word(odoo: PlayedOdoo) -> None:
    for scheme in ("Bearer", "jwt"):
        require_status(await odoo.ask(scheme=scheme), 200)


@CLAUSES.clause("SFU-6", "Claims and query parameters that the SFU does not know are ignored.")
async def _unknown_claims(odoo: PlayedOdoo) -> None:
    token = odoo.token(conformance={"nested": [1, 2]})
    require_status(await odoo.ask(token, query="?conformance=1"), 200)


@CLAUSES.clause("SFU-7", "The same issuer gets the same channel again.")
async def _same_channel(odoo: PlayedOdoo) -> None:
    first, _ = await odoo.channel()
    second, _ = await odoo.channel()
    require(first == second, "it got another channel")


@CLAUSES.clause("SFU-8", "Another issuer gets another channel.")
async def _other_channel(odoo: PlayedOdoo) -> None:
    first, _ = await odoo.channel()
    second, _ = await odoo.channel(odoo.token(iss=odoo.issuer(2)))
    require(first != second, "it got the same channel")


@CLAUSES.clause("SFU-9", "Without a token: 401.", needs_key=False)
async def _no_token(odoo: PlayedOdoo) -> None:
    require_status(await odoo.get("/v1/channel"), 401)


@CLAUSES.clause("SFU-10", "A token without `iss`: 403.")
async def _no_issuer(odoo: PlayedOdoo) -> None:
    require_status(await odoo.ask(odoo.token(iss=None)), 403)


@CLAUSES.clause(
    "SFU-11", "A token signed with another key: 401, or 500 as odoo/sfu 1.3 answers.", needs_key=False
)
async def _wrong_key(odoo: PlayedOdoo) -> None:
    require_status(await odoo.ask(odoo.token(Key(secrets.token_bytes(32)))), 401, 500)


@CLAUSES.clause("SFU-12", "A token past its `exp`: 401, or 500 as odoo/sfu 1.3 answers.")
async def _expired(odoo: PlayedOdoo) -> None:
    require_status(await odoo.ask(odoo.token(exp=odoo.in_seconds(-60))), 401, 500)


@CLAUSES.clause("SFU-13", "A token without signature (`alg` is `none`): 401, or 500 as odoo/sfu 1.3 answers.")
async def _unsigned(odoo: PlayedOdoo) -> None:
    require_status(await odoo.ask(unsigned(odoo.token())), 401, 500)


@CLAUSES.clause("SFU-14", "`POST /v1/disconnect` ignores channels and sessions that it does not know: 200.")
async def _disconnect(odoo: PlayedOdoo) -> None:
    uuid, _ = await odoo.channel()
    sessions = {uuid: [999_999], "00000000-0000-4000-8000-000000000000": [1]}
    require_status(await odoo.disconnect(odoo.token(iss=None, sessionIdsByChannel=sessions)), 200)


@CLAUSES.clause(
    "SFU-15",
    "`POST /v1/disconnect` with a token that is malformed or signed with another key: 422.",
    needs_key=False,
)
async def _bad_disconnect(odoo: PlayedOdoo) -> None:
    forged = odoo.token(Key(secrets.token_bytes(32)), sessionIdsByChannel={})
    for token in ("not-a-token", forged):
        require_status(await odoo.disconnect(token), 422)


@CLAUSES.clause(
    "SFU-16",
    "The first entry of `X-Forwarded-For` is the caller: `GET /v1/stats` shows it as `remoteAddress` of the channel, "
    "and another entry with the same issuer gets another channel. Required from the second gateway on.",
)
async def _forwarded_for(odoo: PlayedOdoo) -> None:
    uuids = []
    for caller in ("192.0.2.1", "192.0.2.2"):
        answer = await odoo.ask(forwarded_for=caller)
        require_status(answer, 200)
        uuids.append(uuid_of(answer))
        seen = [
            entry.get("remoteAddress") for entry in await odoo.entries() if entry.get("uuid") == uuids[-1]
        ]
        require(
            seen in ([caller], [None]),
            f"the caller {caller} is seen as {seen[0] if seen else 'nobody'}: set PROXY=1 (odoo/sfu)",
        )
    require(uuids[0] != uuids[1], "two callers got one channel: set PROXY=1 (odoo/sfu)")


def uuid_of(answer: httpx.Response) -> str:
    """Return the `uuid` of a channel. Raises `Violated`."""
    match json_of(answer):
        case {"uuid": str(uuid)} if uuid:
            return uuid
    raise Violated("`uuid` is no text")


def _count_of(entry: Any) -> tuple[str, int]:
    match entry:
        case {"uuid": str(uuid), "sessionsStats": {"count": int(count)}}:
            return uuid, count
    raise Violated("an entry has no `uuid` or no `sessionsStats.count`")
