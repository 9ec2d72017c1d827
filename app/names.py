"""Names that become part of a Redis key: regions, tenants, namespaces, instances."""

from typing import Final

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
