"""Retries are a share of requests, with a trickle for quiet replicas."""

from app.channels.retry_budget import RetryBudget
from tests.support.simulated import Clock


def spend(budget: RetryBudget) -> int:
    """Take out all there is; how much it was."""
    count = 0
    while budget.withdraw():
        count += 1
    return count


def test_a_replica_that_has_just_started_may_retry() -> None:
    assert spend(RetryBudget(Clock())) == 50


def test_five_requests_pay_for_one_retry() -> None:
    budget = RetryBudget(Clock())
    spend(budget)
    for _ in range(100):
        budget.deposit()
    assert 19 <= spend(budget) <= 20


def test_a_quiet_replica_may_retry_once_a_second() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    spend(budget)
    clock.now += 3
    budget.deposit()
    assert spend(budget) == 3


def test_no_more_is_saved_than_a_full_budget() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    clock.now += 3_600
    for _ in range(1_000):
        budget.deposit()
    assert spend(budget) == 50


def test_a_retry_that_is_put_back_can_be_spent_and_overfills_no_budget() -> None:
    budget = RetryBudget(Clock())
    budget.put_back()
    assert spend(budget) == 50
    budget.put_back()
    assert spend(budget) == 1
