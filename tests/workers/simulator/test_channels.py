from collections.abc import Callable
from random import Random

import pytest

from tests.support.simulated import NO_PEOPLE, Clock
from workers.simulator.channels import ChannelBook, People

ODOO = "198.51.100.7"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book_of(clock: Clock) -> Callable[[People], ChannelBook]:
    return lambda people: ChannelBook(people, clock=clock, random=Random(7), capacity=100)


Books = Callable[[People], ChannelBook]


def test_people_join_over_the_join_time(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=10, join_seconds=20, stay_seconds=1e9))
    for number in range(10):
        book.create(ODOO, str(number))
    assert book.figures().sessions == 0
    clock.now += 10
    halfway = book.figures().sessions
    clock.now += 10
    assert 0.3 < halfway / book.figures().sessions < 0.7


def test_people_leave_after_their_stay(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=10, stay_seconds=60))
    book.create(ODOO, "call")
    clock.now += 20
    assert book.figures().sessions > 0
    clock.now += 3000
    assert book.figures().sessions == 0


def test_new_people_come_when_an_empty_channel_is_asked_for_again(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=10, stay_seconds=60))
    channel = book.create(ODOO, "call")
    clock.now += 3000
    assert book.find(ODOO, "call") is channel
    clock.now += 20
    assert book.figures().sessions > 0


def test_cpu_and_memory_grow_with_the_sessions_and_stay_fractions(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=20, stay_seconds=1e9))
    idle = book.figures()
    for number in range(20):
        book.create(ODOO, str(number))
    clock.now += 20
    busy = book.figures()
    assert idle.cpu_usage < busy.cpu_usage <= 1
    assert idle.memory_usage < busy.memory_usage <= 1


def test_the_same_dice_and_clock_give_the_same_people(clock: Clock) -> None:
    def sessions() -> int:
        book = ChannelBook(People(), clock=clock, random=Random(3))
        for number in range(50):
            book.create(ODOO, str(number))
        clock.now += 12
        return book.figures().sessions

    assert sessions() == sessions()


def test_an_idle_channel_closes_after_an_hour(book_of: Books, clock: Clock) -> None:
    book = book_of(NO_PEOPLE)
    book.create(ODOO, "call")
    clock.now += 3599
    assert book.find(ODOO, "call")
    clock.now += 1
    assert book.find(ODOO, "call") is None
    assert book.figures().channels == 0


def test_a_channel_with_people_in_it_stays_open(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=20, stay_seconds=1e9))
    book.create(ODOO, "call")
    clock.now += 86_400
    assert book.find(ODOO, "call")


def test_a_caller_finds_only_its_own_channels(book_of: Books) -> None:
    book = book_of(NO_PEOPLE)
    book.create(ODOO, "call")
    assert book.find("203.0.113.9", "call") is None


def test_a_disconnected_session_leaves_and_the_others_stay(book_of: Books, clock: Clock) -> None:
    book = book_of(People(per_channel=20, stay_seconds=1e9))
    channel = book.create(ODOO, "call")
    clock.now += 20
    before = book.figures().sessions
    book.disconnect(channel.uuid, [1, 2], remote_address=ODOO)
    assert book.figures().sessions == before - 2


def test_nobody_is_disconnected_by_a_stranger_or_from_an_unknown_channel(
    book_of: Books, clock: Clock
) -> None:
    book = book_of(People(per_channel=20, stay_seconds=1e9))
    channel = book.create(ODOO, "call")
    clock.now += 20
    before = book.figures().sessions
    book.disconnect(channel.uuid, [1], remote_address="203.0.113.9")
    book.disconnect("unknown", [1], remote_address=ODOO)
    assert book.figures().sessions == before
