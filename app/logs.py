"""Structured logs on standard error: one line per event, text on a terminal, else JSON.

Secrets never reach them by design: events name fields one by one, and keys and tokens have a text form without the
secret.
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


def configure_logging(level: str, form: Literal["auto", "json", "text"]) -> None:
    """Send everything that is logged in this process, libraries included, through one renderer.

    The gateway's own events go straight to it: the standard library would cost a request as much CPU as its token.
    """
    number = logging.getLevelName(level.upper())
    common: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    renderer = _renderer(is_text=is_text)
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
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))  # our own lines say more


def _stamped(lines: "_Lines", level: str, event: EventDict) -> EventDict:
    """Do what the `common` processors do, in one step: each line of a request is worth it."""
    event["logger"], event["level"] = lines.name, level
    event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return structlog.processors.format_exc_info(lines, level, event) if "exc_info" in event else event


class _Lines:
    """Writes the lines of one module. A log that cannot be written does not make a request fail."""

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


def _renderer(*, is_text: bool) -> Processor:
    if is_text:
        return structlog.dev.ConsoleRenderer(colors=False)
    encode = encoder(default=repr, separators=(", ", ": "))
    return lambda _lines, _level, event: encode(event)


def logger(name: str) -> Any:
    """Return a structured logger: `logger(__name__).info("event", field=value)`."""
    return structlog.get_logger(name)


def pseudonym(text: str) -> str:
    """Return a short hash of a text, by which log lines about it can be found without naming it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
