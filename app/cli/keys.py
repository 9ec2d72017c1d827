"""`keygen`, `token`, `healthcheck` and `openapi`: small things that need no fleet."""

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from app.cli.durations import duration
from app.cli.exits import Exit, fail, told_in_one_line
from app.cli.options import Config
from app.errors import SettingsError

if TYPE_CHECKING:
    from app.crypto.tokens import Key

_KEY_BYTES: Final = 32


def keygen() -> None:
    """Print a new key: 32 random bytes in base64."""
    import base64
    import secrets

    typer.echo(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())


def token(
    issuer: Annotated[str, typer.Option(help="The `iss` claim: which channel is asked for.")] = "",
    life: Annotated[
        float,
        typer.Option(parser=duration, metavar="DURATION", help="Time until the token expires, as in 5m."),
    ] = 30,
    registration: Annotated[
        bool, typer.Option("--registration", help="A token for heartbeats, not for channel requests.")
    ] = False,
    config: Config = None,
) -> None:
    """Print a signed token, as Odoo (or with --registration an SFU) would send it."""
    from app.settings.loader import load_settings

    with told_in_one_line():
        settings = load_settings(config)
        keys: tuple[Key, ...] = settings.registration.key if registration else settings.key
        if not keys:
            name = "SFU_GATEWAY_REGISTRATION__KEY" if registration else "SFU_GATEWAY_KEY"
            raise SettingsError(f"{name}: required to sign a token")
    claims: dict[str, object] = {"exp": int(time.time() + life)}
    if not registration:
        claims["iss"] = issuer or "http://localhost:8069:channel:1"
    typer.echo(keys[0].sign(claims))


def healthcheck(
    url: Annotated[str, typer.Option(help="The replica's base URL; default: its own port.")] = "",
    config: Config = None,
) -> None:
    """Exit 0 when the replica on this machine is alive, else 1. For container health checks."""
    from app.cli.healthcheck import check

    if trouble := check(url, None if config is None else str(config)):
        fail(trouble, Exit.FAILED)


def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP routes."""
    import json

    from app.api.openapi import openapi_document
    from app.api.routes import ROUTES

    typer.echo(json.dumps(openapi_document(ROUTES), indent=2))
