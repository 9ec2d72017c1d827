"""Structured logs on standard error: one line per event, JSON or text. Secrets never reach them by design:
events name fields one by one, and keys and tokens have a text form without the secret.
"""

import hashlib
import logging
import sys
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

from app.json_text import encoder


def configure_logging(level: str, form: Literal["json", "text"]) -> None:
    """Send everything that is logged in this process, libraries included, through one renderer.

    Our own events go straight to it: the standard library's way would cost a request as much as its token.
    """
    number = logging.getLevelName(level.upper())
    common: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = _renderer(form)
    structlog.configure(
        processors=[_stamped, renderer],
        logger_factory=cache(partial(_Lines, sys.stderr)),
        wrapper_class=structlog.make_filtering_bound_logger(number),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def _stamped(lines: "_Lines", level: str, event: EventDict) -> EventDict:
    """Do what the `common` processors do, in one step: each line of a request is worth it."""
    event["logger"], event["level"] = lines.name, level
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return structlog.processors.format_exc_info(lines, level, event) if "exc_info" in event else event


class _Lines:
    """Writes one module's lines. Whoever reads them may be gone: that is no reason for a request to fail."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        self._file = file
        self.name = name

    def log(self, line: str) -> None:
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError):  # a broken pipe, a closed file
            pass

    debug = info = warning = error = critical = log


def _renderer(form: Literal["json", "text"]) -> Processor:
    if form == "text":
        return structlog.dev.ConsoleRenderer(colors=False)
    encode = encoder(default=repr)
    return lambda _lines, _level, event: encode(event)


def logger(name: str) -> Any:
    """Return a structured logger: `logger(__name__).info("event", field=value)`."""
    return structlog.get_logger(name)


def pseudonym(text: str) -> str:
    """Return a short hash by which lines about the same thing can be found without naming it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
