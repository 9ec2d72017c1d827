"""Options that several commands have."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Final, ParamSpec, TypeVar

import typer

from app.cli.durations import pause
from app.cli.exits import told_in_one_line

if TYPE_CHECKING:
    from app.cli.sources.source import Backend

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; default: SFU_GATEWAY_CONFIG.")
]
RedisUrl = Annotated[
    str, typer.Option("--redis", help="Redis to ask; default: SFU_GATEWAY_REDIS__URL, or redis.url.")
]
GatewayUrl = Annotated[str, typer.Option("--gateway", help="Base URL of a gateway to ask, not Redis.")]
AdminToken = Annotated[
    str, typer.Option("--admin-token", envvar="SFU_GATEWAY_ADMIN_TOKEN", help="The gateway's admin_token.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Interval = Annotated[
    float, typer.Option("--interval", parser=pause, metavar="DURATION", help="Time between two looks.")
]
Count = Annotated[int, typer.Option("--count", min=0, help="Looks until it ends by itself; 0: never.")]

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Where:
    """Whom a command asks, as its options say."""

    redis: str = field(default="", repr=False)
    gateway: str = ""
    admin_token: str = field(default="", repr=False)
    config: Path | None = None

    def open(self) -> AbstractAsyncContextManager[Backend]:
        """Return the source; it is open inside `async with`. Raises as `open_source`."""
        from app.cli.sources.source import open_source

        return open_source(self.redis, self.gateway, self.admin_token, self.config)

    def ask(self, command: Callable[[Backend], Awaitable[_R]]) -> _R:
        """Run `command` with the source; what goes wrong ends the process with one line."""

        async def run() -> _R:
            async with self.open() as source:
                return await command(source)

        with told_in_one_line():
            return asyncio.run(run())


_WHERE: Final = {
    "redis": (RedisUrl, ""),
    "gateway": (GatewayUrl, ""),
    "admin_token": (AdminToken, ""),
    "config": (Config, None),
}


def asking(command: Callable[Concatenate[Where, _P], None]) -> Callable[..., None]:
    """Give a command the options that say whom to ask. It gets them as its first argument."""

    @wraps(command)
    def run(**values: Any) -> None:
        where = Where(**{name: values.pop(name) for name in _WHERE})
        command(where, **values)  # type: ignore[call-arg]

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _WHERE.items()
    ]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *common]
    )
    run.__annotations__ = {each.name: each.annotation for each in (*own, *common)}
    return run


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines that can be pasted, `sfu-gateway` left out of each."""
    return "\b\nExamples:\n" + "\n".join(f"  sfu-gateway {line}" for line in lines)
