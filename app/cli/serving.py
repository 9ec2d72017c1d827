"""Running one replica: all of `serve` but its options. It loads no command line."""

import os
import sys
from pathlib import Path

from app.cli.lean_imports import imports_without, uncollected
from app.errors import SETTINGS_EXIT_CODE, SettingsError


def serve(config: Path | None = None) -> None:
    """Run a replica until it is told to stop. Raises `SystemExit` where it cannot start."""
    with imports_without("opentelemetry", "rich"), uncollected():
        from app.logs import configure_logging
        from app.main import create_app
        from app.server.uvicorn_server import server_for
        from app.settings.loader import load_serving_settings

    try:
        settings = load_serving_settings(config or _predecessors_file())
        configure_logging(settings.log.level, settings.log.format)
        app = create_app(settings)
    except SettingsError as error:
        _say(str(error))
        raise SystemExit(SETTINGS_EXIT_CODE) from None
    server = server_for(app, settings)
    server.run()
    if not server.started:
        raise SystemExit(1)


def _predecessors_file() -> Path | None:
    """Return the `secrets.toml` that the Rust predecessor reads, when no other file is named."""
    file = Path("secrets.toml")
    if {"SFU_GATEWAY_CONFIG", "SFU_GATEWAY_NODES"} & os.environ.keys() or not file.is_file():
        return None
    _say(f"settings are read from {file.resolve()}; name the file with --config to choose another")
    return file


def _say(line: str) -> None:
    if sys.stderr is not None:  # closed by the caller
        sys.stderr.write(f"{line}\n")
