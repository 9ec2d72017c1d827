"""The agent's settings: the roadmap's variables, the SFU's own, and a few of the agent.

The agent often shares its environment with the SFU, so variables that it does not know are none of its
business.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.names import NAME_PATTERN
from app.secret_files import with_secret_files
from app.upstream.addresses import listening_host, parse_ip, sfu_address

SECRETS: Final = ("SFU_GATEWAY_REGISTRATION__KEY", "AUTH_KEY")
"""Settings that are secrets."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
    return value


def _gateway_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise ValueError("give http:// or https:// URLs with a host, without user info, comma-separated")
    if parts.query or parts.fragment:
        raise ValueError("a gateway's base URL has no query and no fragment")
    return text


def _auth_key(value: SecretStr) -> SecretStr:
    Key.from_base64(value.get_secret_value())
    return value


def _first_key(value: object) -> object:
    """The gateway's own variable may name several keys, for rotation; the first one signs."""
    return Key.from_base64(value.split(",")[0]) if isinstance(value, str) else value


def _own_port(value: object) -> object:
    """Beside a Service named `sfu-agent`, Kubernetes sets `SFU_AGENT_PORT=tcp://...`: that is not ours."""
    return AgentSettings.model_fields["agent_port"].default if "://" in str(value) else value


_BaseUrl = Annotated[str, BeforeValidator(sfu_address)]


class AgentSettings(BaseModel):
    """Every setting of the agent; the alias is the environment variable."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )

    gateway_urls: Annotated[
        tuple[Annotated[str, AfterValidator(_gateway_url)], ...],
        BeforeValidator(_split),
        Field(alias="SFU_GATEWAY_URL", min_length=1),
    ]
    """The gateway's base URL; several, comma-separated, are replicas of one gateway, tried in turn."""
    ping_interval_ms: Annotated[int, Field(alias="SFU_GATEWAY_PING_INTERVAL", gt=0, le=86_400_000)] = 10_000
    """Longest interval of heartbeats, in milliseconds; the gateway may ask for a shorter one."""
    registration_key: Annotated[
        Key | None,
        BeforeValidator(_first_key),
        Field(alias="SFU_GATEWAY_REGISTRATION__KEY"),
    ] = None
    """Base64 key that signs the heartbeats: the gateway's `registration.key`. Not needed with auth none."""
    region: Annotated[str, Field(alias="SFU_REGION", pattern=NAME_PATTERN)] = "default"
    """Where the SFU is."""
    auth_key: Annotated[SecretStr, AfterValidator(_auth_key), Field(alias="AUTH_KEY")]
    """The SFU's own base64 key."""
    drain_s: Annotated[int, Field(alias="SFU_DRAIN_SECONDS", ge=0, le=86_400)] = 0
    """Seconds that calls have to end when the agent is told to stop: it reports the SFU as draining until the last
    session has left. 0 signs off at once; a second signal does too."""
    public_ip: Annotated[str | None, Field(alias="PUBLIC_IP")] = None
    """The SFU's own: its public IP address, or a host name."""
    port: Annotated[int, Field(alias="PORT", gt=0, le=65_535)] = 8070
    """The SFU's own: the port it listens on."""
    registered_address: Annotated[_BaseUrl | None, Field(alias="SFU_ADDRESS")] = None
    """Base URL at which the gateway reaches the SFU. Default: `http://PUBLIC_IP:PORT`."""
    polled_url: Annotated[_BaseUrl | None, Field(alias="SFU_LOCAL_URL")] = None
    """Base URL at which the agent reaches the SFU. Default: `SFU_ADDRESS`."""
    public_url: Annotated[_BaseUrl | None, Field(alias="SFU_PUBLIC_URL")] = None
    """Base URL at which browsers reach the SFU, when that is another one. The SFU needs `PROXY` set."""
    max_sessions: Annotated[int | None, Field(alias="SFU_MAX_SESSIONS", gt=0, le=10**9)] = None
    """People the SFU can hold. Default: the gateway's `balancing.max_sessions`."""
    cgroup: Annotated[
        Literal["none"] | Path | None, Field(alias="SFU_CGROUP", union_mode="left_to_right")
    ] = None
    """Directory of the SFU's control group, v1 or v2, as the agent sees it; `none` measures the machine.
    Default: the agent's own where it shares one with the SFU, else the machine."""
    agent_bind: Annotated[str, AfterValidator(listening_host), Field(alias="SFU_AGENT_BIND")] = "127.0.0.1"
    """Address of the agent's own `/livez`, `/readyz` and `/metrics`. Probes of Kubernetes need `0.0.0.0` or `::`."""
    agent_port: Annotated[int, BeforeValidator(_own_port), Field(alias="SFU_AGENT_PORT", ge=0, le=65_535)] = (
        8079
    )
    """Their port; 0 turns them off. Not 8072, where Odoo has its longpolling."""
    log_format: Annotated[Literal["auto", "json", "text"], Field(alias="SFU_AGENT_LOG_FORMAT")] = "auto"
    """`text` for people, `json` for machines; `auto` is text on a terminal, else JSON."""

    @model_validator(mode="after")
    def _addressable(self) -> Self:
        if self.registered_address is None and self.public_ip is None:
            raise ValueError("SFU_ADDRESS: required, or PUBLIC_IP and PORT")
        try:
            self.address  # noqa: B018 - raises when PUBLIC_IP is no host
        except ValueError:
            raise ValueError("PUBLIC_IP: must be an IP address or a host name") from None
        return self

    @property
    def address(self) -> str:
        """The base URL under which the SFU is registered."""
        return self.registered_address or sfu_address(f"http://{_host(self.public_ip or '')}:{self.port}")

    @property
    def local_url(self) -> str:
        """The base URL at which the agent asks the SFU."""
        return self.polled_url or self.address


def load_agent_settings() -> AgentSettings:
    """Read the settings from the environment. Raises `SettingsError`."""
    given = with_secret_files(os.environ, SECRETS)
    aliases = (str(field.alias) for field in AgentSettings.model_fields.values())
    values: dict[str, Any] = {name: text for name in aliases if (text := given.get(name, "").strip())}
    try:
        return AgentSettings(**values)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise SettingsError("\n".join(_explain(problem) for problem in problems)) from None


def variable_names() -> list[str]:
    """Every environment variable that is a setting of the agent."""
    names = [str(field.alias) for field in AgentSettings.model_fields.values()]
    return names + [f"{name}_FILE" for name in SECRETS]


def _explain(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{problem['loc'][0]}: {message}" if problem["loc"] else message


def _host(text: str) -> str:
    """`text` as the host of a URL: an IPv6 address stands in brackets."""
    ip = parse_ip(text)
    return f"[{text}]" if ip is not None and ip.version == 6 else text
