"""The words for what an SFU is, on every surface: API, events, metrics, command line, page, runbooks."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

State = Literal[
    "selectable",
    "half-open",
    "full",
    "overloaded",
    "ejected",
    "draining",
    "drained",
    "expired",
    "signed-off",
    "lost",
]
"""The state that `lua/includes/node_state.lua` derives.

`expired`: silent, and not ended by the sweeper yet. `signed-off`: left in order. `lost`: ended as silent or
unreachable.
"""

STATES: Final[tuple[State, ...]] = get_args(State)

GONE: Final = frozenset[State]({"expired", "signed-off", "lost"})
"""States of SFUs that are not registered any more, or silent."""

REASONS: Final[Mapping[State, tuple[str, ...]]] = {
    "half-open": ("failed", "misconfigured"),
    "full": ("sessions",),
    "overloaded": ("cpu", "memory", "load"),
    "ejected": ("failed", "misconfigured"),
    "draining": ("operator", "sfu"),
    "drained": ("operator", "sfu"),
    "lost": ("expired", "unreachable"),
}
"""Why an SFU is in its state; the other states have no reason."""


def is_gone(state: str, status: str) -> bool:
    """Return whether an SFU is not registered any more, or silent; a gateway of an older version tells no `state`."""
    return state in GONE if state else status == "down"
