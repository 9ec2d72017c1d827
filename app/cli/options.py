"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

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
Interval = Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")]
Count = Annotated[int, typer.Option("--count", min=0, help="Looks until it ends by itself; 0: never.")]
