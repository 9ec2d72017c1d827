"""Reading the fleet for a snapshot, whole and in parts."""

from dataclasses import dataclass, field
from typing import Any

from app.errors import RegistryUnavailable
from app.registry.snapshot import SnapshotPage, SnapshotReader


def row(address: str, sessions: int = 0) -> list[Any]:
    return [address, "eu", "sealed", "", "0.1", str(sessions), "1000", "selectable", "1", "selectable"]


@dataclass
class Fleet:
    """What snapshot.lua would say of a fleet: pages in an order that does not move, and transitions."""

    sessions: dict[str, int]
    began_at: str = "1"
    events: list[str] = field(default_factory=list)
    is_away: bool = False
    looked_at: int = 0
    calls: int = 0

    async def page(self, cursor: str, count: int, after_event: str) -> SnapshotPage:
        if self.is_away:
            raise RegistryUnavailable("snapshot: TimeoutError")
        self.calls += 1
        order = sorted(self.sessions)
        names = [name for name in order if name > cursor][:count]
        following = names[-1] if len(names) == count else ""
        seen = int(after_event or len(self.events))
        named = list(dict.fromkeys([*self.events[seen : seen + 100], *names]))
        newest = min(len(self.events), seen + 100)
        self.looked_at += len(named)
        return SnapshotPage(
            f"{self.began_at}-{len(self.events)}",
            self.began_at,
            False,
            4.0,
            1_000,
            following,
            str(newest),
            newest < len(self.events),
            [row(name, self.sessions[name]) for name in named if name in self.sessions],
            [name for name in named if name not in self.sessions],
        )

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
    reader = SnapshotReader(fleet.page)
    assert (await reader.read()).addresses == set(fleet.sessions)
    fleet.looked_at = fleet.calls = 0
    again = await reader.read()
    assert again.addresses == set(fleet.sessions)
    assert (fleet.looked_at, fleet.calls) == (100, 1)


async def test_a_fleet_that_did_not_change_is_the_same_object() -> None:
    reader = SnapshotReader(large().page)
    assert (await reader.read()).nodes is (await reader.read()).nodes


async def test_who_comes_and_goes_is_known_with_the_next_reading() -> None:
    fleet = large()
    reader = SnapshotReader(fleet.page)
    await reader.read()
    fleet.say("a new one", 7)
    fleet.say("sfu05999", None)
    assert (await reader.read()).addresses == set(fleet.sessions)


async def test_a_burst_of_transitions_is_known_with_the_next_reading() -> None:
    fleet = large()
    reader = SnapshotReader(fleet.page)
    await reader.read()
    for number in range(350):
        fleet.say(f"new {number}", 0)
    assert (await reader.read()).addresses == set(fleet.sessions)


async def test_figures_are_never_older_than_a_pass() -> None:
    fleet = large()
    reader = SnapshotReader(fleet.page)
    await reader.read()
    fleet.sessions = dict.fromkeys(fleet.sessions, 9)
    for _ in range(60):
        snapshot = await reader.read()
    assert {node.sessions for node in snapshot.nodes} == {9}


async def test_an_sfu_that_was_forgotten_without_a_transition_is_gone_after_a_pass() -> None:
    fleet = large()
    reader = SnapshotReader(fleet.page)
    await reader.read()
    del fleet.sessions["sfu00007"]
    for _ in range(120):
        snapshot = await reader.read()
    assert snapshot.addresses == set(fleet.sessions)


async def test_lost_data_and_a_failure_make_the_next_reading_whole() -> None:
    fleet = large()
    reader = SnapshotReader(fleet.page)
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
    reader = SnapshotReader(fleet.page)
    await reader.read()
    fleet.sessions = {"other": 1}
    assert (await reader.read(is_full=True)).addresses == {"other"}
