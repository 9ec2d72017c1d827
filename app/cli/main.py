"""The `sfu-gateway` command."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import __version__
from app.cli import doctor, keys, sfus, support_bundle, watching, why
from app.cli.durations import duration
from app.cli.exits import Exit, fail, told_in_one_line
from app.cli.options import Config, examples
from app.errors import SettingsError

if TYPE_CHECKING:
    from app.crypto.tokens import Key
    from workers.simulator.play import Play

cli = typer.Typer(
    name="sfu-gateway",
    help="Load balancer for WebRTC media servers (SFUs).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


@cli.command("serve", epilog=examples("serve --config gateway.toml"))
def serve_replica(
    config: Config = None,
    secrets: Annotated[
        Path | None, typer.Option("--secrets", "-s", help="The Rust predecessor's name for --config.")
    ] = None,
) -> None:
    """Run one replica of the gateway."""
    from app.cli.serving import serve

    serve(config or secrets)


@cli.command(epilog=examples("sweep --config gateway.toml"))
def sweep(config: Config = None) -> None:
    """Run a sweeper: ends silent SFUs' lives, probes, publishes events. Several may run."""
    import asyncio

    from app.logs import configure_logging
    from app.settings.loader import load_settings
    from workers.sweeper import sweep_until_told

    with told_in_one_line():
        settings = load_settings(config)
        if settings.redis.url is None:
            raise SettingsError(
                "SFU_GATEWAY_REDIS__URL (redis.url in TOML): required; without it `serve` sweeps by itself"
            )
        if settings.has_rescue and (missing := settings.missing_to_serve()):
            raise SettingsError(f"{missing}, and what messages to Odoo are signed with (rescue)")
    configure_logging(settings.log.level, settings.log.format)
    asyncio.run(sweep_until_told(settings))


@cli.command(epilog=examples("agent --check"))
def agent(
    check: Annotated[
        bool, typer.Option("--check", help="Check SFU, key, clock, URLs and gateway; register nothing.")
    ] = False,
) -> None:
    """Report an unchanged SFU beside it to the gateway. Its settings are environment variables: docs/sfu.md."""
    arguments = ["--check"] if check else []
    # A new process image leaves behind what the command line has loaded: a sidecar is to stay small.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "workers.agent", *arguments])  # noqa: S606 - no shell


@cli.command(
    epilog=examples("conformance --gateway http://localhost:8071", "conformance --sfu http://sfu1:8070")
)
def conformance(
    gateway: Annotated[str, typer.Option(help="Base URL of a gateway, to play an SFU against.")] = "",
    registration_key: Annotated[
        str, typer.Option(envvar="SFU_GATEWAY_REGISTRATION__KEY", help="The gateway's, base64.")
    ] = "",
    address: Annotated[
        str, typer.Option(help="Address that the played SFU registers; default: one that leads nowhere.")
    ] = "",
    admin_token: Annotated[
        str, typer.Option(envvar="SFU_GATEWAY_ADMIN_TOKEN", help="The gateway's, to forget the played SFU.")
    ] = "",
    sfu: Annotated[str, typer.Option(help="Base URL of an SFU, to play Odoo against.")] = "",
    key: Annotated[str, typer.Option(envvar="AUTH_KEY", help="The SFU's, base64.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Hold a gateway, an SFU or both against docs/sfu.md. Exits with 0 only if every clause is kept."""
    import asyncio

    from workers.conformance.runner import hold_gateway, hold_sfu, report

    runs = []
    if gateway:
        key_option = _key_option("--registration-key", registration_key)
        runs.append(hold_gateway(gateway, key_option, address, admin_token))
    if sfu:
        runs.append(hold_sfu(sfu, _key_option("--key", key)))
    if not runs:
        fail("give --gateway URL, --sfu URL or both", Exit.USAGE)
    if not asyncio.run(report(runs, typer.echo, as_json=as_json)):
        raise typer.Exit(1)


def _key_option(name: str, text: str) -> "Key":
    from app.crypto.tokens import Key

    try:
        return Key.from_base64(text.split(",")[0])
    except ValueError as error:
        fail(f"{name}: {error}", Exit.USAGE)


Sfus = Annotated[int, typer.Option("--sfus", min=1, max=1000, help="How many simulated SFUs.")]
Calls = Annotated[float, typer.Option("--calls", min=0, max=6000, help="New channels a minute.")]
PlayTime = Annotated[
    float,
    typer.Option(
        "--duration", parser=duration, metavar="DURATION", help="Time until it ends by itself; 0: never."
    ),
]
Trouble = Annotated[
    bool, typer.Option("--trouble", help="Keys cause troubles: an SFU breaks, Redis hangs, and more.")
]
Script = Annotated[
    str,
    typer.Option(
        "--script",
        help="Troubles by time, as in break@5s,flood:us-east@10s: break, kill, overload, flood, hang, add, mend.",
    ),
]


@cli.command(
    epilog=examples(
        "demo",
        "demo --trouble",
        "demo --sfus 14 --calls 120 --script break@1s,kill@2s,overload@3s,flood@4s --duration 2m",
    )
)
def demo(
    sfus: Sfus = 5,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The gateway's port; 0 takes a free one.")
    ] = 8071,
    calls: Calls = 30,
    duration: PlayTime = 0,
    trouble: Trouble = False,
    script: Script = "",
) -> None:
    """Run a gateway, a sweeper and simulated SFUs in this process; with troubles, on a Redis of its own."""
    import asyncio

    with _demo_extra():
        from workers.demo import play_demo
    play = _play(sfus, calls, duration, script, trouble=trouble)
    try:
        asyncio.run(play_demo(play, port, typer.echo))
    except OSError as error:
        if error.errno:
            fail(f"--port: cannot listen on port {port}: {error.strerror}", Exit.FAILED)
        fail(str(error.strerror), Exit.FAILED)


@cli.command(
    epilog=examples(
        "simulate --gateway http://localhost:8071 --sfus 20 --regions eu-west,us-east",
        "simulate --gateway http://localhost:8071 --calls 300 --trouble",
    )
)
def simulate(
    gateway: Annotated[
        list[str], typer.Option("--gateway", help="A gateway's base URL; repeat it for more replicas.")
    ],
    sfus: Sfus = 5,
    regions: Annotated[
        str, typer.Option(help="Regions of the SFUs, comma-separated, dealt out in turn.")
    ] = "eu-west,us-east",
    calls: Calls = 60,
    duration: PlayTime = 0,
    trouble: Trouble = False,
    script: Script = "",
    config: Config = None,
) -> None:
    """Let a simulated fleet and a simulated Odoo work with gateways, whose keys are this machine's settings."""
    import asyncio

    from app.settings.loader import load_settings

    with _demo_extra():
        from workers.simulator.play import simulate as run
    with told_in_one_line():
        settings = load_settings(config)
    play = _play(sfus, calls, duration, script, trouble=trouble)
    names = tuple(filter(None, (name.strip() for name in regions.split(","))))
    asyncio.run(run(play, tuple(gateway), names, settings, typer.echo))


@contextmanager
def _demo_extra() -> Iterator[None]:
    """Name the extra that an import in the block lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"simulated SFUs need {error.name}: pip install 'sfu-gateway[demo]'", Exit.FAILED)


def _play(sfus: int, calls: float, duration_s: float, script: str, *, trouble: bool) -> "Play":
    from workers.simulator.play import Play
    from workers.simulator.stage import read_script

    if trouble and not sys.stdin.isatty():
        fail("--trouble: keys need a terminal; give the troubles with --script", Exit.USAGE)
    try:
        return Play(sfus, calls, duration_s, tuple(read_script(script)), takes_keys=trouble)
    except ValueError as error:
        fail(f"--script: {error}", Exit.USAGE)


cli.add_typer(sfus.group, name="sfu")
for command, shown in (
    (why.why, ("why", "why --gateway https://gateway.example.com")),
    (watching.explain, ("explain --region eu-west", "explain --issuer https://odoo.example.com:channel:42")),
    (watching.events, ("events --since 15m", "events --follow --json")),
    (watching.top, ("top", "top --interval 5s --most 50")),
    (keys.token, ("token --life 5m", "token --registration")),
    (keys.keygen, ("keygen",)),
    (doctor.doctor, ("doctor --redis redis://localhost:6379", "doctor --json")),
    (support_bundle.support_bundle, ("support-bundle", "support-bundle --since 6h --output bundle.tar.gz")),
    (keys.healthcheck, ("healthcheck --url http://localhost:8071",)),
    (keys.openapi, ("openapi",)),
):
    cli.command(epilog=examples(*shown))(command)
