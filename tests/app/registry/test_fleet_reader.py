"""The one reading of the fleet, whole and in parts."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from app.errors import RegistryUnavailable
from app.registry.fleet_reader import FleetPage, FleetReader
from tests.support.sfus import SFU
from tests.support.simulated import Clock


def row(address: str, sessions: int = 0) -> list[Any]:
    return [*astuple(replace(SFU, address=address, sessions=sessions))[:-1]]


@dataclass
class Fleet:
    """What read_fleet.lua would say of a fleet: pages in an order that does not move, and transitions."""

    sessions: dict[str, int]
    began_at: str = "1"
    events: list[str] = field(default_factory=list)
    is_away: bool = False
    looked_at: int = 0
    calls: int = 0
    gone: set[str] = field(default_factory=set)

    async def page(self, cursor: str, count: int, after_event: str, besides: Sequence[str]) -> FleetPage:
        if self.is_away:
            raise RegistryUnavailable("snapshot: TimeoutError")
        self.calls += 1
        order = sorted(self.sessions)
        names = [name for name in order if name > cursor][:count]
        following = names[-1] if len(names) == count else ""
        seen = int(after_event or len(self.events))
        named = list(dict.fromkeys([*self.events[seen : seen + 100], *besides, *names]))
        newest = min(len(self.events), seen + 100)
        self.looked_at += len(named)
        return FleetPage(
            f"{self.began_at}-{len(self.events)}",
            self.began_at,
            False,
            4.0,
            1_000,
            following,
            str(newest),
            newest < len(self.events),
            [self.row(name) for name in named if name in self.sessions],
            [name for name in named if name not in self.sessions],
        )

    def row(self, name: str) -> list[Any]:
        described = row(name, self.sessions[name])
        if name in self.gone:
            described[2], described[8] = "lost", ""
        return described

    def say(self, name: str, sessions: int | None) -> None:
        """An SFU comes, or goes (`None`)."""
        if sessions is None:
            del self.sessions[name]
        else:
            self.sessions[name] = sessions
        self.events.append(name)


def large() -> Fleet:
    return Fleet({f"sfu{number:05}": 0 for number in range(6_000)})


async def test_the_first_reading_is_whole_and_later_ones_read_a_sixtieth() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    assert (await reader.read()).addresses == set(fleet.sessions)
    fleet.looked_at = fleet.calls = 0
    again = await reader.read()
    assert again.addresses == set(fleet.sessions)
    assert (fleet.looked_at, fleet.calls) == (100, 1)


async def test_who_comes_and_goes_is_known_with_the_next_reading() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.say("a new one", 7)
    fleet.say("sfu05999", None)
    assert (await reader.read()).addresses == set(fleet.sessions)


async def test_a_burst_of_transitions_is_known_with_the_next_reading() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    for number in range(350):
        fleet.say(f"new {number}", 0)
    assert (await reader.read()).addresses == set(fleet.sessions)


async def test_figures_are_never_older_than_a_pass() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.sessions = dict.fromkeys(fleet.sessions, 9)
    for _ in range(60):
        snapshot = await reader.read()
    assert {node.sessions for node in snapshot.nodes} == {9}


async def test_an_sfu_that_was_forgotten_without_a_transition_is_gone_after_a_pass() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    del fleet.sessions["sfu00007"]
    for _ in range(120):
        snapshot = await reader.read()
    assert snapshot.addresses == set(fleet.sessions)


async def test_lost_data_and_a_failure_make_the_next_reading_whole() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.sessions, fleet.began_at = {"other": 1}, "2"
    snapshot = await reader.read()
    assert snapshot.addresses == {"other"}
    assert (snapshot.began_at, snapshot.epoch) == ("2", "2-0")
    fleet.is_away = True
    try:
        await reader.read()
    except RegistryUnavailable:
        fleet.is_away = False
    fleet.sessions = dict.fromkeys(map(str, range(500)), 0)
    assert (await reader.read()).addresses == set(fleet.sessions)


async def test_a_whole_reading_can_be_asked_for() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.sessions = {"other": 1}
    assert (await reader.read(is_full=True)).addresses == {"other"}


async def test_a_small_fleet_is_read_whole_each_time() -> None:
    for size in (1, 99, 100):
        fleet = Fleet({f"sfu{number:05}": 0 for number in range(size)})
        reader = FleetReader(fleet.page)
        await reader.read()
        for sessions in (1, 2):
            fleet.sessions = dict.fromkeys(fleet.sessions, sessions)
            assert {sfu.sessions for sfu in (await reader.read()).sfus} == {sessions}


async def test_while_somebody_looks_figures_of_a_large_fleet_are_newer() -> None:
    fleet, clock = large(), Clock()
    reader = FleetReader(fleet.page, clock)
    await reader.read()
    reader.watch()
    fleet.sessions = dict.fromkeys(fleet.sessions, 9)
    for _ in range(20):
        snapshot = await reader.read()
    assert {node.sessions for node in snapshot.nodes} == {9}
    clock.now += 15
    fleet.looked_at = 0
    await reader.read()
    assert fleet.looked_at == 100


async def test_an_sfu_that_is_wanted_is_in_the_next_reading() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.sessions["sfu05000"] = 9
    del fleet.sessions["sfu05001"]
    reader.want("sfu05000", "sfu05001")
    nodes = {node.address: node.sessions for node in (await reader.read()).nodes}
    assert (nodes["sfu05000"], "sfu05001" in nodes) == (9, False)
    fleet.looked_at = 0
    await reader.read()
    assert fleet.looked_at == 100


async def test_an_sfu_that_goes_down_is_listed_and_is_no_node_until_it_returns() -> None:
    fleet = large()
    reader = FleetReader(fleet.page)
    await reader.read()
    fleet.gone = {"sfu00007"}
    fleet.say("sfu00007", 0)
    snapshot = await reader.read()
    assert [sfu.address for sfu in snapshot.others] == ["sfu00007"]
    assert snapshot.addresses == fleet.sessions.keys() - fleet.gone
    assert len(snapshot.sfus) == len(fleet.sessions)
    fleet.gone = set()
    fleet.say("sfu00007", 0)
    snapshot = await reader.read()
    assert not snapshot.others
    assert snapshot.addresses == fleet.sessions.keys()


async def test_readings_share_the_texts_that_many_hold() -> None:
    fleet = Fleet({"a": 0, "b": 0})
    reader = FleetReader(fleet.page)
    a, b = (await reader.read()).nodes
    fleet.say("a", 1)
    again, _ = (await reader.read()).nodes
    assert again.sessions == 1
    assert again.address is a.address
    assert a.region is b.region
