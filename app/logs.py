"""Structured logs on standard error: one line per event, JSON or text. Secrets never reach them by design:
events name fields one by one, and keys and tokens have a text form without the secret.
"""

import hashlib
import logging
import sys
from typing import Any, Literal

import structlog
from structlog.typing import Processor


def configure_logging(level: str, form: Literal["json", "text"]) -> None:
    """Send everything that is logged in this process, libraries included, through one renderer."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


def logger(name: str) -> Any:
    """Return a structured logger: `logger(__name__).info("event", field=value)`."""
    return structlog.get_logger(name)


def pseudonym(text: str) -> str:
    """Return a short hash by which lines about the same thing can be found without naming it."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
