"""Settings that the files for deployment use, and that the code may not have yet.

A name leaves this list when the code has it; until then tests that start a program leave it out.
"""

from collections.abc import Mapping
from typing import Final

from app.settings.loader import SECRETS
from app.settings.model import ENV_PREFIX, setting_names
from workers.agent.settings import variable_names

SECRET_FILES: Final = frozenset(f"{ENV_PREFIX}{secret}_FILE" for secret in SECRETS)
"""Variables that name a file with a secret of the gateway."""

PLANNED: Final = frozenset(
    {
        "SFU_GATEWAY_OPS__BIND",
        "SFU_GATEWAY_OPS__PORT",
        "SFU_DRAIN_SECONDS",
        "SFU_GATEWAY_REGISTRATION__KEY_FILE",  # the gateway has it, the agent not yet
    }
)


def missing(*, agent: bool = False) -> frozenset[str]:
    """Return the planned names that the gateway, or the agent, does not have."""
    known = set(variable_names()) if agent else {*setting_names(), *SECRET_FILES}
    return PLANNED - known


def has_ops_port() -> bool:
    """Whether the gateway can serve its operators' routes on a port of their own."""
    return "SFU_GATEWAY_OPS__PORT" not in missing()


def that_the_code_knows(environment: Mapping[str, str], *, agent: bool = False) -> dict[str, str]:
    """Return `environment` without the planned names that the code does not have."""
    return {name: value for name, value in environment.items() if name not in missing(agent=agent)}
