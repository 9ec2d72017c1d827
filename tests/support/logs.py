"""What the gateway logs, as it would be written."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Literal

from app.logs import Logger, configure_logging


@contextmanager
def captured_logs(level: str = "debug", form: Literal["json", "text"] = "json") -> Iterator[io.StringIO]:
    """Give the text of all that this process logs inside the block, libraries included."""
    root, text = logging.getLogger(), io.StringIO()
    handlers, root_level, output = root.handlers, root.level, Logger.output
    try:
        with redirect_stderr(text):
            configure_logging(level, form)
        yield text
    finally:
        root.handlers = handlers
        root.setLevel(root_level)
        Logger.output = output
