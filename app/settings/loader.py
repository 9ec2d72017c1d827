"""Reads the settings: environment over TOML over defaults. The only reader of the environment."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from app.errors import SettingsError
from app.secret_files import with_secret_files
from app.settings.model import ENV_PREFIX, RETIRED, Settings, setting_names

CONFIG_VARIABLE: Final = ENV_PREFIX + "CONFIG"

AGENT_VARIABLES: Final = frozenset({"SFU_GATEWAY_URL", "SFU_GATEWAY_PING_INTERVAL"})
"""The roadmap's variables of the SFU's side. They have the gateway's prefix, but the agent reads them."""

SECRETS: Final = (
    "KEY",
    "REGISTRATION__KEY",
    "ADMIN_TOKEN",
    "REDIS__URL",
    "SEALING__KEYS",
    "NODES",
    "SFU",
    "TENANT",
)
"""Settings that hold secrets: `<variable>_FILE` names a file with the value, for systemd and container secrets."""

_UNKNOWN: Final = "there is no such setting"

_STATIC_SFUS: Final = frozenset({f"{ENV_PREFIX}NODES", f"{ENV_PREFIX}SFU"})

_SERVICE_LINK: Final = re.compile(
    r"([A-Z0-9]+_)*(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What comes after our prefix, as `NAME=value`.

https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def load_settings(config_file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings: `environ` over the TOML file over defaults.

    The file is `config_file`, else the one `SFU_GATEWAY_CONFIG` names, else none.

    Raises:
        SettingsError: a wrong or unknown setting, named; an unreadable file.
    """
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file = Path(environ[CONFIG_VARIABLE])
    document = {} if config_file is None else _read_file(config_file)
    given = {name: value.strip() for name, value in environ.items() if _is_setting(name, value)}
    variables = with_secret_files(
        {name: value for name, value in given.items() if value}, (ENV_PREFIX + secret for secret in SECRETS)
    )
    _refuse_unknown(variables)
    if not variables.keys().isdisjoint(_STATIC_SFUS):
        document.pop("sfu", None)  # the environment replaces the SFUs of the file
        document.pop("nodes", None)

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            environment = EnvSettingsSource(settings_cls)
            environment.env_vars = {name.lower(): value for name, value in variables.items()}
            return environment, InitSettingsSource(settings_cls, document)

    try:
        return Loaded()
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None
    except SourceError as error:
        raise SettingsError(_explain_source(error)) from None


def load_serving_settings(config_file: Path | None = None) -> Settings:
    """Read the settings of a replica, some of which are required. Raises `SettingsError`."""
    settings = load_settings(config_file)
    if missing := settings.missing_to_serve():
        raise SettingsError(missing)
    return settings


def _read_file(config_file: Path) -> dict[str, Any]:
    """Return the TOML document without empty texts: empty means not given, as in the environment."""
    try:
        return _without_empty(tomllib.loads(config_file.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: cannot read {config_file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{CONFIG_VARIABLE}: {config_file} is not TOML: {error}") from None


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, str) and not value.strip():
            continue
        if isinstance(value, dict):
            kept[name] = _without_empty(value)
        elif isinstance(value, list):
            kept[name] = [_without_empty(item) if isinstance(item, dict) else item for item in value]
        else:
            kept[name] = value
    return kept


def _is_setting(name: str, value: str) -> bool:
    """Whether a variable is a setting of the gateway.

    Kubernetes gives every pod variables of each Service in its namespace: beside Services named sfu-gateway
    and sfu-gateway-redis stand `SFU_GATEWAY_PORT=tcp://...`, `SFU_GATEWAY_REDIS_SERVICE_HOST` and the like.
    """
    if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE or name in AGENT_VARIABLES:
        return False
    return not _SERVICE_LINK.match(f"{name.removeprefix(ENV_PREFIX)}={value}")


def _refuse_unknown(variables: Iterable[str]) -> None:
    known = set(setting_names())
    unknown = [name for name in variables if name not in known]
    if unknown:
        raise SettingsError("\n".join(f"{name}: {_about_unknown(name)}" for name in sorted(unknown)))


def _about_unknown(name: str) -> str:
    """Hints for unknown settings, by the last part of the name, in both spellings."""
    return RETIRED.get(name.lower().rpartition("__")[2], _UNKNOWN)


def _explain_source(error: SourceError) -> str:
    """Return a message that names the variable without valid JSON, and shows no value."""
    quoted = re.search(r'field "(\w+)"', str(error))
    return f"{ENV_PREFIX}{quoted[1].upper() if quoted else '*'}: give a JSON list, or write it in TOML"


def _explain(error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        path = [str(part) for part in problem["loc"]]
        is_unknown = problem["type"] == "extra_forbidden"
        message = _about_unknown(path[-1]) if is_unknown else problem["msg"].removeprefix("Value error, ")
        if not path:
            yield message
            continue
        variable = ENV_PREFIX + "__".join(path).upper()
        yield f"{variable} ({'.'.join(path)} in TOML): {message}"
