"""Refusals in the log: the first of a kind, then one line a second."""

import asyncio
import json
from collections.abc import Callable

import pytest

from app.api import refusal_log
from app.api.refusal_log import RefusalLog
from tests.support.logs import captured_logs


class Timers:
    """A loop's timers, which go off when the test says so."""

    def __init__(self) -> None:
        self._due: list[Callable[[], object]] = []

    def call_later(self, delay_s: float, callback: Callable[..., object], *arguments: object) -> None:
        assert delay_s == refusal_log.SUMMED_OVER_S
        self._due.append(lambda: callback(*arguments))

    def a_second_later(self) -> list[dict[str, object]]:
        """What is logged then."""
        due, self._due = self._due, []
        with captured_logs() as text:
            for callback in due:
                callback()
        return [json.loads(line) for line in text.getvalue().splitlines()]


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Timers in the test's hands."""
    made = Timers()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_the_first_refusal_has_a_line_and_the_others_of_a_second_are_summed(timers: Timers) -> None:
    refusals = RefusalLog()
    summed = [refusals.is_summed("/v1/sfu", 503, "store_unavailable", f"id-{n}") for n in range(4)]
    assert summed == [False, True, True, True]
    [line] = timers.a_second_later()
    told = {name: line[name] for name in ("event", "path", "status", "code", "count", "last_request_id")}
    assert told == {
        "event": "requests_refused",
        "path": "/v1/sfu",
        "status": 503,
        "code": "store_unavailable",
        "count": 3,
        "last_request_id": "id-3",
    }


def test_a_flood_is_one_line_a_second_and_its_end_is_none(timers: Timers) -> None:
    refusals = RefusalLog()
    refusals.is_summed("/v1/channel", 401, "credentials_invalid", "a")
    for _ in range(3):
        assert refusals.is_summed("/v1/channel", 401, "credentials_invalid", "b")
        assert [line["count"] for line in timers.a_second_later()] == [1]
    assert timers.a_second_later() == []
    assert not refusals.is_summed("/v1/channel", 401, "credentials_invalid", "c")


def test_another_route_status_or_code_is_another_kind(timers: Timers) -> None:
    refusals = RefusalLog()
    kinds = [("/v1/sfu", 401, "a"), ("/v1/sfu", 401, "b"), ("/v1/sfu", 403, "a"), (None, 401, "a")]
    assert [refusals.is_summed(*kind, "id") for kind in kinds] == [False] * 4
    assert [refusals.is_summed(*kind, "id") for kind in kinds] == [True] * 4


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, None), (500, "internal"), (503, "all_failed"), (503, "deadline"), (502, "refused_by_sfu")],
)
def test_an_answer_or_a_request_that_sfus_were_asked_for_is_never_summed(
    timers: Timers, status: int, code: str | None
) -> None:
    refusals = RefusalLog()
    assert [refusals.is_summed("/v1/channel", status, code, "id") for _ in range(3)] == [False] * 3
