"""Failures are rated by caller."""

from app.api.failed_logins import FailedLogins


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_failures_of_a_caller_are_taken_and_then_one_per_interval() -> None:
    clock, told = Clock(), []
    logins = FailedLogins(60, 3, lambda: told.append(1), clock=clock)
    assert [logins.note("a") for _ in range(5)] == [False, False, False, True, True]
    clock.now += 1
    assert [logins.note("a") for _ in range(2)] == [False, True]
    clock.now += 60
    assert [logins.note("a") for _ in range(4)] == [False, False, False, True]
    assert len(told) == 11


def test_a_caller_does_not_pay_for_another() -> None:
    logins = FailedLogins(60, 1, clock=Clock())
    assert [logins.note(caller) for caller in "aab"] == [False, True, False]
