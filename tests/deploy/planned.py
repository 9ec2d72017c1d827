"""Settings that the files for deployment use, and that the code may not have yet.

A name leaves this list when the code has it; until then tests that start the gateway leave it out.
"""

from collections.abc import Mapping
from typing import Final

from app.settings import setting_names
from workers.agent_settings import variable_names

PLANNED: Final = frozenset(
    {
        "SFU_GATEWAY_OPS__BIND",
        "SFU_GATEWAY_OPS__PORT",
        "SFU_GATEWAY_KEY_FILE",
        "SFU_GATEWAY_REGISTRATION__KEY_FILE",
        "SFU_GATEWAY_SEALING__KEYS_FILE",
        "SFU_GATEWAY_ADMIN_TOKEN_FILE",
        "SFU_GATEWAY_REDIS__URL_FILE",
        "AUTH_KEY_FILE",
        "SFU_DRAIN_SECONDS",
    }
)


def missing() -> frozenset[str]:
    """Return the planned names that the code does not have."""
    return PLANNED - set(setting_names()) - set(variable_names())


def has_ops_port() -> bool:
    """Whether the gateway can serve its operators' routes on a port of their own."""
    return "SFU_GATEWAY_OPS__PORT" not in missing()


def that_the_code_knows(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without the planned names that the code does not have."""
    return {name: value for name, value in environment.items() if name not in missing()}
