"""The fleet as people see it, and what operators tell an SFU to do."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final

from app.errors import UnknownSfu
from app.registry.commands import RegistryCommands
from app.registry.explain import Decision, Explained, explain
from app.registry.placements import PlacementRequest
from app.registry.scripts import utf8
from app.registry.sfus import SfuStatus, in_order

_PAGE: Final = 50


class Fleet:
    """Every SFU, living and lost. For people, not for a request path."""

    def __init__(self, commands: RegistryCommands) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._keys = commands.keys

    async def drain(self, address: str, *, deadline_ms: int = 0, move: bool = False) -> None:
        """Let an SFU take no new channels; after `deadline_ms` (0: never) it does not keep its calls either.

        With `move`, the sweeper asks Odoo to move the calls: `app.rescue`.

        Raises:
            UnknownSfu: not registered now; a drain belongs to a registration and ends with it.
        """
        _known(address, await self._commands.run(self._scripts.set_drain, address, deadline_ms, int(move)))

    async def resume(self, address: str) -> None:
        """Take back a drain. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.set_drain, address, "", 0))

    async def forget(self, address: str) -> None:
        """Remove every trace of an SFU. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.forget, address))

    async def reset(self, address: str) -> None:
        """End an SFU's ejection and forget its failures. Raises `UnknownSfu`."""
        _known(address, await self._commands.run(self._scripts.reset, address))

    async def sfus(self) -> list[SfuStatus]:
        """Return every SFU, living and lost, by region and address."""
        return in_order([status async for page in self.pages() for status in page])

    async def pages(self) -> AsyncGenerator[list[SfuStatus]]:
        """Yield every SFU, living and lost, once and in no order: a large fleet need not be in memory whole."""
        async for page in self._addresses():
            texts = await self._commands.run(self._scripts.describe, *page)
            yield [SfuStatus(**json.loads(text)) for text in texts]

    async def describe(self, address: str) -> SfuStatus:
        """Return one SFU. Raises `UnknownSfu`."""
        texts = await self._commands.run(self._scripts.describe, address)
        if not texts:
            raise UnknownSfu(f"no SFU is known as {address}")
        return SfuStatus(**json.loads(texts[0]))

    async def note_setup(self, address: str, generation: int, problems: Sequence[str]) -> bool:
        """Keep what is wrong with the set-up of an SFU. Returns whether that registration still lasts."""
        noted = await self._commands.run(self._scripts.note_setup, address, generation, " ".join(problems))
        return bool(noted)

    async def _addresses(self) -> AsyncIterator[Sequence[str]]:
        after = "-"
        while page := await self._commands.send(
            "zrangebylex", self._keys.sfus, after, "+", start=0, num=_PAGE
        ):
            yield page
            after = f"({page[-1]}"

    async def explain(self, request: PlacementRequest) -> Explained:
        """Return where a call would be placed, and of every candidate the reason it would lose.

        A dry run: nothing is reserved.
        """
        winner, reason, group, _, placement, _ = await self._commands.run(
            self._scripts.explain,
            request.call.tenant,
            utf8(request.call.issuer),
            *request.where,
            self._commands.draw(),
            request.call.channel_key_fingerprint,
        )
        return explain(
            await self.sfus(),
            request,
            Decision(winner, reason, int(group), placement),
            strategy=self._commands.policy.strategy,
            choices=self._commands.policy.choices,
        )


def _known(address: str, reply: Sequence[Any]) -> None:
    if reply[0] == "unknown":
        raise UnknownSfu(f"no SFU is known as {address}")
    if reply[0] == "down":
        raise UnknownSfu(
            f"{address} is not registered now: its drain and its failures ended with its registration"
        )
