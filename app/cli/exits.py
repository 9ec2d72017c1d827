"""How commands end: exit codes, and one line on standard error that names the cause."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final, NoReturn

import typer

from app.errors import SETTINGS_EXIT_CODE, GatewayError, RegistryUnavailable, SettingsError


class Exit(IntEnum):
    """Exit codes. Scripts may branch on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SETTINGS = SETTINGS_EXIT_CODE
    UNREACHABLE = 4
    REFUSED = 5
    DOCTOR_WARNING = 10
    DOCTOR_ERROR = 11


MEANINGS = {
    Exit.OK: "Done.",
    Exit.FAILED: "It failed, or was called off at the prompt; for `healthcheck` and `conformance`: the answer is no.",
    Exit.USAGE: "The command line is wrong.",
    Exit.SETTINGS: "A setting is missing or wrong; the message names it.",
    Exit.UNREACHABLE: "Redis or the gateway does not answer.",
    Exit.REFUSED: "It answered and refused: no such SFU, a wrong admin token, a closed route, a value out of range.",
    Exit.DOCTOR_WARNING: "`doctor` or `why` found nothing worse than a warning.",
    Exit.DOCTOR_ERROR: "`doctor` or `why` found an error.",
}  # fmt: skip


_OUTPUT_ENDS: Final = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write says when a reader has gone or a disk is full."""


class CommandError(Exception):
    """A command cannot go on; the message is for the person at the terminal."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


def fail(message: str, code: int) -> NoReturn:
    """End the process with a `message` on standard error."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the process with one line, and the code for its kind, when the block fails in a way we know."""
    try:
        yield
    except CommandError as error:
        fail(str(error), error.code)
    except SettingsError as error:
        fail(str(error), Exit.SETTINGS)
    except RegistryUnavailable as error:
        fail(error.detail, Exit.UNREACHABLE)
    except GatewayError as error:
        fail(error.detail, Exit.REFUSED)
    except OSError as error:
        if error.errno not in _OUTPUT_ENDS:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be written
        if error.errno != errno.EPIPE:  # by which `| head` has seen enough
            fail(f"the output cannot be written: {os.strerror(error.errno)}", Exit.FAILED)
        raise typer.Exit(Exit.FAILED) from None
