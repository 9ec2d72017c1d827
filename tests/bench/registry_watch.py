"""Whether a replica asks Redis at all: one that has lost it goes on from its snapshot, which is far cheaper.

A benchmark that did not look would take that for speed.
"""

import re
from typing import Final

import httpx

from tests.support.waiting import eventually_sync

_FAILURES: Final = re.compile(r'^sfu_gateway_script_errors_total\{kind="unavailable"\} (\S+)$', re.MULTILINE)
_PATIENCE_S: Final = 60
"""A replica that was asked for too much first works off what is left of it."""
_RETURN_S: Final = 40
"""A replica trusts Redis again when every SFU is back, or a heartbeat interval has passed."""


def await_registry(url: str) -> None:
    """Return when a replica places channels by the registry. Raises `AssertionError` when it goes on not to."""
    eventually_sync(lambda: _mode(url) == "registry", timeout_seconds=_RETURN_S, interval_seconds=0.2)


def _mode(url: str) -> str:
    return str(_get(f"{url}/readyz").json().get("mode"))


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=_PATIENCE_S)


def redis_failures(url: str) -> int:
    """Return how often Redis has not served a replica so far."""
    return failures_in(_get(f"{url}/metrics").text)


def failures_in(metrics: str) -> int:
    """Read the text of `/metrics`. Raises `AssertionError` when it does not say."""
    found = _FAILURES.search(metrics)
    assert found, "no script_errors in /metrics"
    return int(float(found[1]))
