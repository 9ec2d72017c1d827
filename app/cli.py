"""The `sfu-gateway` command."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from app import __version__
from app.load_settings import SETTINGS_EXIT_CODE, SettingsError, load_serving_settings, load_settings

cli = typer.Typer(
    name="sfu-gateway",
    help="Load balancer for WebRTC media servers (SFUs).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; default: SFU_GATEWAY_CONFIG.")
]

_KEY_BYTES: Final = 32


def main() -> None:
    """Run the command line."""
    cli()


@contextmanager
def _settings_errors() -> Iterator[None]:
    """Wrong settings end the process with their names and exit code 3."""
    try:
        yield
    except SettingsError as error:
        _fail(str(error), SETTINGS_EXIT_CODE)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


@cli.command()
def serve(config: Config = None) -> None:
    """Run one replica of the gateway."""
    from app.logs import configure_logging
    from app.main import create_app
    from app.server import server_for

    with _settings_errors():
        settings = load_serving_settings(config)
    configure_logging(settings.log.level, settings.log.format)
    server = server_for(create_app(settings), settings)
    server.run()
    if not server.started:
        raise typer.Exit(1)


@cli.command()
def sweep(config: Config = None) -> None:
    """Run a sweeper: ends silent SFUs' lives, probes, publishes events. Several may run."""
    from app.logs import configure_logging
    from workers.sweeper import sweep_until_told

    with _settings_errors():
        settings = load_settings(config)
        if settings.redis.url is None:
            raise SettingsError(
                "SFU_GATEWAY_REDIS__URL (redis.url in TOML): required; without it `serve` sweeps by itself"
            )
    configure_logging(settings.log.level, settings.log.format)
    asyncio.run(sweep_until_told(settings))


@cli.command()
def demo(
    sfus: Annotated[int, typer.Option(min=1, max=1000, help="How many simulated SFUs.")] = 5,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The gateway's port; 0 takes a free one.")
    ] = 8071,
    calls: Annotated[float, typer.Option(min=0, max=6000, help="New channels a minute.")] = 30,
    duration: Annotated[float, typer.Option(min=0, help="Seconds until it ends by itself; 0: never.")] = 0,
) -> None:
    """Run a gateway, a sweeper and simulated SFUs in this process, on an embedded store."""
    from workers.demo import run_demo

    try:
        asyncio.run(
            run_demo(sfus=sfus, port=port, calls_per_minute=calls, duration_s=duration, say=typer.echo)
        )
    except OSError as error:
        _fail(f"cannot listen on port {port}: {error.strerror}. Choose another with --port.", 1)


@cli.command()
def keygen() -> None:
    """Print a new key: 32 random bytes in base64."""
    import base64
    import secrets

    typer.echo(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())


@cli.command()
def token(
    issuer: Annotated[str, typer.Option(help="The `iss` claim: which channel is asked for.")] = "",
    life: Annotated[int, typer.Option(min=1, help="Seconds until the token expires.")] = 30,
    registration: Annotated[
        bool, typer.Option("--registration", help="A token for heartbeats, not for channel requests.")
    ] = False,
    config: Config = None,
) -> None:
    """Print a signed token, as Odoo (or with --registration an SFU) would send it."""
    from app.tokens import Key

    with _settings_errors():
        settings = load_settings(config)
        keys: tuple[Key, ...] = settings.registration.key if registration else settings.key
        if not keys:
            name = "SFU_GATEWAY_REGISTRATION__KEY" if registration else "SFU_GATEWAY_KEY"
            raise SettingsError(f"{name}: required to sign a token")
    claims: dict[str, object] = {"exp": int(time.time()) + life}
    if not registration:
        claims["iss"] = issuer or "http://localhost:8069:channel:1"
    typer.echo(keys[0].sign(claims))


@cli.command()
def healthcheck(
    url: Annotated[str, typer.Option(help="The replica's base URL; default: its own port.")] = "",
    config: Config = None,
) -> None:
    """Exit 0 when the replica on this machine is alive, else 1. For container health checks."""
    import httpx

    with _settings_errors():
        base = url or f"http://127.0.0.1:{load_settings(config).port}"
    try:
        response = httpx.get(f"{base}/livez", timeout=2, trust_env=False)
    except httpx.HTTPError as error:
        _fail(f"{base}/livez: {type(error).__name__}", 1)
    if response.status_code != 200:
        _fail(f"{base}/livez: {response.status_code}", 1)
