"""`sfu drain --wait`: it returns when the calls have left."""

from typing import cast

import pytest

from app.api.schemas import Moves, Sfu
from app.cli import sfus
from app.cli.sources.source import Backend
from app.registry.sfus import SfuStatus

ADDRESS = "http://sfu1:8070"


def look(sessions: int, moves: Moves | None) -> Sfu:
    """What a source says of the SFU."""
    status = SfuStatus(ADDRESS, "eu", "draining", "closed", 1, 0, sessions=sessions, channels=1)
    return Sfu.of(status).model_copy(update={"moves": moves})


class Looks:
    """A source that shows one look after another."""

    def __init__(self, *looks: Sfu) -> None:
        self.left = list(looks)

    async def sfus(self) -> list[Sfu]:
        """The next one."""
        return [self.left.pop(0)]


async def test_a_drain_that_waits_shows_each_change_and_ends_when_nobody_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sfus, "_LOOK_AGAIN_S", 0)
    begun, half = Moves(left=2, moved=0, kept=0, failed=0), Moves(left=1, moved=1, kept=0, failed=0)
    over = Moves(left=0, moved=1, kept=1, failed=0)
    source = Looks(look(8, begun), look(8, begun), look(4, half), look(4, over), look(0, over))
    await sfus.wait_until_empty(cast("Backend", source), ADDRESS)
    assert source.left == []
    assert capsys.readouterr().out.splitlines() == [
        "8 people in 1 channel left; calls: 2 left, 0 moved, 0 kept, 0 failed",
        "4 people in 1 channel left; calls: 1 left, 1 moved, 0 kept, 0 failed",
        "4 people in 1 channel left; calls: 0 left, 1 moved, 1 kept, 0 failed",
        "0 people in 1 channel left; calls: 0 left, 1 moved, 1 kept, 0 failed",
        f"{ADDRESS} is empty.",
    ]
