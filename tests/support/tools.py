"""Programs that tests need and that pip does not bring, and what happens where one is missing."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

_PATH: Final = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/usr/sbin"


def is_ci() -> bool:
    """Whether the environment says so: CI=true, as the common CI services set it."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def miss(reason: str) -> NoReturn:
    """Skip the test at home, fail it in CI: there a silent skip would look like a pass."""
    if is_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def required_tool(name: str, install: str) -> Path:
    """Return the program `name`; without it, skip the test at home and fail it in CI."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        miss(f"{name} is not installed: {install}")
    return Path(found)
