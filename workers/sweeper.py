"""The sweeper process: `sfu-gateway sweep`."""

import asyncio
import signal

from app.errors import SETTINGS_EXIT_CODE
from app.logs import logger
from app.registry.client import close_client, connect
from app.registry.registry import Registry
from app.registry.schema_version import SchemaRefused, SchemaWatch
from app.rescue.service import Rescue
from app.settings.model import Settings
from app.sweeper import Sweeper
from app.systemd import ready
from app.upstream.client import Forwarder

log = logger(__name__)


async def sweep_until_told(settings: Settings) -> None:
    """Sweep until SIGTERM or SIGINT. Data of an unknown schema ends the process with exit code 3."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, done.set)
    client = connect(settings.redis)
    try:
        registry = Registry.from_settings(client, settings)
        async with (
            SchemaWatch(registry.claim_schema).running(),
            Forwarder(settings.address_guard()) as forwarder,
        ):
            patient = registry.patient()
            rescue = Rescue.from_settings(settings, patient, forwarder)
            sweeper = Sweeper(patient, forwarder, rescue=rescue)
            async with sweeper.running(on_end=done.set), ready():
                log.info("sweeping")
                await done.wait()
    except SchemaRefused:
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    finally:
        await close_client(client)
