"""Each kind of request has room of its own, and a place is free again however its request ends."""

import asyncio
import json

import pytest

from app.api.budgets import BUSY, Budget, Budgets, EarlyRefusals, Viewers
from app.errors import BadRequest, ReplicaBusy, ViewersFull
from app.settings.model import LimitsSettings, Settings
from tests.support.logs import captured_logs


def test_a_full_budget_refuses_and_tells_whoever_counts() -> None:
    refused: list[int] = []
    budget = Budget(2, lambda: refused.append(1))
    with budget, budget:
        assert budget.is_full
        with pytest.raises(ReplicaBusy, match=BUSY), budget:
            pytest.fail("there was no room")
    assert (budget.inside, refused) == (0, [1])


def test_a_failed_request_gives_its_place_back() -> None:
    budget = Budget(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="on purpose"), budget:
            raise ValueError("on purpose")
    assert budget.inside == 0


async def test_requests_of_one_iteration_are_counted_before_they_start() -> None:
    budget = Budget(2)
    assert [budget.announce() for _ in range(3)] == [True, True, False]
    assert [budget.announce_credible() for _ in range(3)] == [True, True, False]
    await asyncio.sleep(0)
    assert budget.announce()


def test_one_kind_of_work_takes_no_room_of_another() -> None:
    limits = LimitsSettings(max_heartbeats=1, max_disconnects=1)
    budgets = Budgets(Settings(max_concurrent_requests=1, limits=limits))
    paths = ("/v1/channel", "/r/eu-west/v1/channel", "/v1/sfu", "/v1/disconnect")
    kinds = [budgets.of_work(path) for path in paths]
    assert kinds == [budgets.channels, budgets.channels, budgets.heartbeats, budgets.disconnects]
    with budgets.channels, budgets.heartbeats, budgets.disconnects, budgets.operators, budgets.readers:
        shown = {kind: count() for kind, count in budgets.in_progress().items()}
    assert shown == dict.fromkeys(shown, 1.0) | {"viewer": 0.0}


@pytest.mark.parametrize(
    "path", ["/livez", "/v1/noop", "/v1/health", "/v1/admin/sfus/drain", "/v1/channel/", ""]
)
def test_what_is_no_work_has_no_budget_in_the_server(path: str) -> None:
    assert Budgets(Settings()).of_work(path) is None


def test_viewers_are_bounded_for_all_and_for_each_caller() -> None:
    viewers = Viewers(3, per_caller=2)
    with viewers.following("a"), viewers.following("a"):
        with pytest.raises(ViewersFull, match="one caller"), viewers.following("a"):
            pytest.fail("one too many of a caller")
        with viewers.following("b"):
            with pytest.raises(ViewersFull, match="this replica"), viewers.following("c"):
                pytest.fail("one too many")
            assert viewers.inside == 3
    assert viewers.inside == 0


async def test_refusals_of_a_second_are_one_line() -> None:
    told: list[tuple[int, str]] = []
    early = EarlyRefusals(lambda status, code: told.append((status, code)))
    with captured_logs() as logs:
        for number in range(10):
            early.note(BadRequest("no"), f"id-{number}")
    [line] = [json.loads(line) for line in logs.getvalue().splitlines()]
    assert (line["event"], line["codes"], line["last_request_id"]) == (
        "requests_refused",
        {"bad_request": 1},
        "id-0",
    )
    assert told == [(400, "bad_request")] * 10
