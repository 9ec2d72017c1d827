"""Clauses of docs/sfu.md: an id, a sentence and the check that decides it.

Each clause is written once, beside its check: in `workers.conformance.gateway` what a gateway keeps, in
`workers.conformance.sfu` what an SFU keeps. docs/sfu.md repeats ids and sentences, and a test compares.
"""

import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

import httpx

TIMEOUT_SECONDS: Final = 5.0
"""For one request of a check; a peer that takes longer has failed the clause."""

P = TypeVar("P")
Check: TypeAlias = Callable[[P], Awaitable[None]]


class Violated(Exception):
    """The peer did something else than the clause says. The message says what."""


class WrongKey(Violated):
    """The key that was given is not the peer's, so that clauses which need it cannot be decided."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one clause. `detail` says what was wrong, and is empty where nothing was."""

    id: str
    clause: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Clause(Generic[P]):
    """One sentence that can be checked against a peer `P`."""

    id: str
    text: str
    check: Check[P]
    needs_key: bool = True
    """Whether a peer whose key is not known cannot show that it keeps the clause."""

    async def decide(self, peer: P) -> Outcome:
        """Check the clause; an unreachable peer violates it. Raises `WrongKey`."""
        try:
            await self.check(peer)
        except WrongKey:
            raise
        except Violated as violation:
            return Outcome(self.id, self.text, passed=False, detail=str(violation))
        except httpx.HTTPError as error:
            return Outcome(self.id, self.text, passed=False, detail=f"no answer ({type(error).__name__})")
        return Outcome(self.id, self.text, passed=True)


class Clauses(Generic[P]):
    """The clauses for one kind of peer, in the order in which they are read and checked."""

    def __init__(self) -> None:
        """Start with none."""
        self._clauses: list[Clause[P]] = []

    def __iter__(self) -> Iterator[Clause[P]]:
        return iter(self._clauses)

    def clause(self, clause_id: str, text: str, *, needs_key: bool = True) -> Callable[[Check[P]], Check[P]]:
        """Make the decorated function, which raises `Violated`, the check of a new clause."""

        def add(check: Check[P]) -> Check[P]:
            self._clauses.append(Clause(clause_id, text, check, needs_key))
            return check

        return add


async def decide_all(
    clauses: Iterable[Clause[P]], playing: Callable[[], AbstractAsyncContextManager[P]]
) -> AsyncIterator[Outcome]:
    """Decide one clause after the other, each with a peer of its own, so that none depends on another.

    When a clause finds that the key is wrong, that clause is violated, and the clauses that need the key stay
    undecided.
    """
    wrong_key = ""
    for clause in clauses:
        if wrong_key and clause.needs_key:
            yield Outcome(clause.id, clause.text, passed=False, detail=f"not decided: see {wrong_key}")
            continue
        async with playing() as peer:
            try:
                outcome = await clause.decide(peer)
            except WrongKey as violation:
                wrong_key = clause.id
                outcome = Outcome(clause.id, clause.text, passed=False, detail=str(violation))
        yield outcome


def require(condition: object, violation: str) -> None:
    """Raise `Violated` with `violation` unless `condition` is true."""
    if not condition:
        raise Violated(violation)


def require_status(answer: httpx.Response, *statuses: int) -> None:
    """Raise `Violated` unless `answer` has one of `statuses`."""
    expected = " or ".join(str(status) for status in statuses)
    require(answer.status_code in statuses, f"answered {answer.status_code}, not {expected}")


def json_of(answer: httpx.Response) -> object:
    """Return the JSON of `answer`. Raises `Violated`."""
    try:
        document: object = answer.json()
    except ValueError:
        raise Violated("answered something that is not JSON") from None
    return document


def new_client(url: str) -> httpx.AsyncClient:
    """Return a client for the peer at base URL `url`."""
    return httpx.AsyncClient(
        base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False, verify=_certificates(), follow_redirects=False
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Loaded once per process: loading takes 40 ms, and each clause has a client of its own."""
    return httpx.create_ssl_context(trust_env=False)
