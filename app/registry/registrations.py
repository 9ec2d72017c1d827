"""Registrations of SFUs: heartbeats renew them, a sign-off ends them."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from app.crypto.sealing import Sealer, UnsealError
from app.crypto.tokens import Key
from app.errors import AddressLeased, RateLimited
from app.registry.commands import RegistryCommands
from app.registry.sfus import HeartbeatResult, SfuReport


class Registrations:
    """A registration is an address and a key: while it lives, another key is refused."""

    def __init__(self, commands: RegistryCommands, sealer: Sealer) -> None:
        self._commands = commands
        self._scripts = commands.scripts
        self._keys = commands.keys
        self._sealer = sealer

    async def heartbeat(self, report: SfuReport) -> HeartbeatResult:
        """Register an SFU or renew its registration.

        Raises:
            AddressLeased: a living SFU has registered the address with another key.
            RateLimited: the address sends too many heartbeats.
        """
        sealed = self._sealer.seal(report.address, report.key)
        fingerprint = self._sealer.fingerprint(report.address, report.key)

        async def send(former_fingerprint: str) -> Any:
            return await self._commands.run_batched(
                self._scripts.heartbeat,
                report.address,
                report.region,
                report.channels,
                report.sessions,
                report.max_sessions,
                report.cpu,
                report.memory,
                report.public_url,
                int(report.is_draining),
                int(report.is_fresh),
                sealed,
                fingerprint,
                former_fingerprint,
                report.instance,
            )

        code, *rest = await self._with_lease(report.address, report.key, send)
        if code == "limited":
            raise RateLimited(f"this address may send again in {rest[0]} ms")
        is_draining, generation, is_new, setup = rest
        return HeartbeatResult(bool(is_draining), int(generation), bool(is_new), tuple(setup.split()))

    async def sign_off(self, address: str, key: Key, *, is_gone: bool = False) -> bool:
        """Remove an SFU at once. Returns whether there was one to remove. Raises `AddressLeased`.

        With `is_gone` the SFU did not mean to go: it is kept while most of the fleet seems to be gone.
        """
        fingerprint = self._sealer.fingerprint(address, key)

        async def send(former_fingerprint: str) -> Any:
            return await self._commands.run(
                self._scripts.sign_off, address, fingerprint, former_fingerprint, int(is_gone)
            )

        _, removed = await self._with_lease(address, key, send)
        return bool(removed)

    async def _with_lease(self, address: str, key: Key, send: Callable[[str], Awaitable[Any]]) -> Any:
        """Call `send`, and again with the registered fingerprint if the registered key equals `key`.

        Fingerprints change with the sealing key. The keys themselves do not.
        """
        reply = await send("")
        if reply[0] == "leased" and self._is_key_of(address, reply[1], key):
            reply = await send(await self._fingerprint_of(address))
        if reply[0] == "leased":
            raise AddressLeased("a living SFU has registered this address with another key")
        return reply

    def _is_key_of(self, address: str, sealed: str, key: Key) -> bool:
        try:
            return self._sealer.open(address, sealed) == key
        except UnsealError:
            return False

    async def _fingerprint_of(self, address: str) -> str:
        fingerprint = await self._commands.send("hget", self._keys.node(address), "fingerprint")
        return cast("str | None", fingerprint) or ""
