"""The agent's log: text on a terminal, else a JSON object per line, with the members of the gateway's.

The gateway's own renderer (`app.logs`) would double the agent's memory.
"""

import json
import logging
import sys
import time
from typing import Literal


def configure_logging(form: Literal["auto", "json", "text"]) -> None:
    """Send everything that is logged in this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLines() if is_text else JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00Z [info     ] the agent has started`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and a traceback below it."""
        line = f"{_timestamp(record)} [{record.levelname.lower():<9}] {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback is its member `exception`."""
        members = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": _timestamp(record),
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        return json.dumps(members)


def _timestamp(record: logging.LogRecord) -> str:
    """ISO 8601 in UTC, with microseconds."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.created % 1 * 1e6):06}Z"
