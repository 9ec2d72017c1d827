"""Every setting of the gateway, with its domain, its default and why it is there.

`app.settings.loader` reads them. `docs/configuration.md` is rendered from this file (`docs.renderers.configuration`).
"""

import glob
import ipaddress
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.crypto.tokens import Key
from app.names import NAME_PATTERN
from app.settings.redis_url import parse_redis_url
from app.settings.trusted_proxies import TrustedProxies
from app.upstream.addresses import (
    PRIVATE_NETWORKS,
    AddressGuard,
    IpNetwork,
    listening_host,
    literal_ip,
    parse_network,
    sfu_address,
)

ENV_PREFIX: Final = "SFU_GATEWAY_"

ODOO_TIMEOUT_MS: Final = 3_000
"""Odoo waits this long for a channel."""

DEFAULT_REGION: Final = "default"
"""The region of an SFU that names none."""

MOST_WEIGHT: Final = 1_000
"""Redis cannot compare loads that are far larger than the limits of `overload`."""

_BEARER_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def _split(value: object) -> object:
    """Comma-separated text as a list, so that lists can be written in the environment."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _keys(value: object) -> object:
    parts = [value] if isinstance(value, Key) else _split(value)
    if not isinstance(parts, list | tuple):
        raise ValueError("give base64 text, or several separated by commas")
    try:
        return tuple(part if isinstance(part, Key) else Key.from_base64(str(part)) for part in parts)
    except ValueError as error:
        raise ValueError(f"not a usable key: {error}") from None


def _nodes(value: object) -> object:
    """The predecessor's `SFU_GATEWAY_NODES`: `{"sfu": [{"address", "region", "key"}]}` as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        document = json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON (line {error.lineno}, column {error.colno})") from None
    if not isinstance(document, dict) or not isinstance(document.get("sfu"), list):
        raise ValueError('give a JSON object like {"sfu": [{"address": ..., "region": ..., "key": ...}]}')
    return document["sfu"]


def _redis_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value().strip()
    parse_redis_url(url)
    return SecretStr(url)


def _optional_address(value: object) -> str:
    return sfu_address(value) if value else ""


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0):
        raise ValueError("give an http:// or https:// URL")
    return value


def _token(value: SecretStr | None) -> SecretStr | None:
    """A bearer token (RFC 6750, section 2.1) without outer white space; empty text is none."""
    text = value.get_secret_value().strip() if value else ""
    if text and not _BEARER_TOKEN.fullmatch(text):
        raise ValueError("a token has letters, digits and -._~+/= only, and no white space inside")
    return SecretStr(text) if text else None


def _region(value: object) -> object:
    """No region (`null`, or empty text, as the predecessor allows) is the default region."""
    return DEFAULT_REGION if value is None or value == "" else value


def _network(value: object) -> object:
    try:
        return parse_network(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("give networks such as 10.0.0.0/8, separated by commas") from None


def _one_key(value: object) -> object:
    keys = _keys(value)
    if not isinstance(keys, tuple) or len(keys) != 1:
        raise ValueError("give exactly one key")
    return keys[0]


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[
    tuple[Annotated[IpNetwork, BeforeValidator(_network)], ...], NoDecode, BeforeValidator(_split)
]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Keys = Annotated[tuple[Key, ...], NoDecode, BeforeValidator(_keys)]
OneKey = Annotated[Key, NoDecode, BeforeValidator(_one_key)]
Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[int, Field(gt=0, le=86_400_000)]
Seconds = Annotated[int, Field(ge=0, le=31_536_000)]
People = Annotated[float, Field(gt=0, le=1_000_000)]
Capacity = Annotated[int, Field(gt=0, le=10**9)]
"""Sessions of an SFU, at most."""


RETIRED: Final = {
    "max_ejected_percent": "is gone: an ejected SFU is the last resort, so no cap is needed; remove the setting",
    "max_channels": "is max_placements now: it counts the issuers placed within affinity.ttl, not channels at once",
}
"""Settings of former versions, and what replaced them."""


def _refuse_truth_value(model: type[BaseModel], value: object, info: ValidationInfo) -> object:
    """A number that is `true` would be 1: a port that needs root, a time of one millisecond."""
    takes = model.model_fields[info.field_name or ""].annotation
    if isinstance(value, bool) and takes not in (bool, TrustedProxies):
        raise ValueError("give a value, not true or false")
    return value


class Section(BaseModel):
    """A group of settings: frozen, and closed to names it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    _refuse_truth_values = field_validator("*", mode="before")(classmethod(_refuse_truth_value))


class WeightsSettings(Section):
    """`[balancing.weights]`: the terms of the load score (roadmap, phase 2)."""

    sessions: Annotated[float, Field(ge=0)] = 0.5
    """Weight of sessions / max_sessions."""
    cpu: Annotated[float, Field(ge=0)] = 0.3
    """Weight of CPU usage (0 to 1)."""
    memory: Annotated[float, Field(ge=0)] = 0.2
    """Weight of memory usage (0 to 1)."""


class BalancingSettings(Section):
    """`[balancing]`: which SFU gets a channel."""

    strategy: Literal["load", "round-robin"] = "load"
    """`load`: the lowest load score. `round-robin`: the least recently used."""
    weights: WeightsSettings = WeightsSettings()
    max_sessions: Capacity = 1000
    """Capacity of an SFU that does not report its own `maxSessions`."""
    choices: Annotated[int, Field(ge=1, le=32)] = 1
    """Pick evenly among this many of the least loaded, so that an SFU that joins empty is not flooded."""
    region_fallback: Literal["any", "nearest"] = "any"
    """Where a request goes when its region has no selectable SFU: least loaded anywhere, or by distance."""
    region_allow: Names = ()
    """Regions a channel may ever be placed in (data residency); empty allows all."""
    sessions_per_channel: People = 4.0
    """Expected people per new channel. It decides when an SFU is full; the order of SFUs goes by the figure that
    heartbeats teach, at most four times this, which fades back to it."""
    min_sessions_per_channel: People = 2.0
    """The learned figure never falls below this: empty channels must not make placements look free."""
    join_ms: Milliseconds = 15_000
    """Time constant with which a channel's people join."""


class FailoverSettings(Section):
    """`[failover]`: what happens when an SFU fails to create a channel (roadmap, phase 3)."""

    max_retries: Annotated[int, Field(ge=1, le=20)] = 3
    """Up to this many different SFUs are asked for one request."""
    retry_timeout_ms: Milliseconds = 5_000
    """One attempt takes at most this long, from connecting to the last byte."""
    deadline_ms: Milliseconds = 2_500
    """The whole request takes at most this long: Odoo hangs up after 3 s. After half of what is left, the next SFU
    is asked as well."""


class HealthSettings(Section):
    """`[health]`: when an SFU counts as alive."""

    unhealthy_threshold: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    """Seconds without a heartbeat after which an SFU is down. Fractions are allowed."""
    ping_interval_ms: Milliseconds = 10_000
    """The interval SFUs are asked to keep (`nextPingMs`); never more than a third of the threshold."""
    lost_ttl_s: Seconds = 600
    """Seconds for which an SFU that went down stays listed."""
    public: bool = True
    """Whether everybody may see the fleet. If not, `/v1/health`, `/v1/diagnosis`, `/v1/events` and the dashboard want
    the admin token: they name every SFU. Probes and metrics, which name none, stay open."""


class BreakerSettings(Section):
    """`[breaker]`: how an SFU that keeps failing is ejected, by all replicas together. An ejected SFU is the last
    resort: it is asked when no other is left, so no cap on their number is needed."""

    failure_threshold: Annotated[int, Field(ge=1)] = 5
    """Failures in a row from which on an SFU is ejected for longer than until its next heartbeat."""
    open_ms: Milliseconds = 30_000
    """How long it is ejected then the first time; each further time twice as long."""
    max_open_ms: Milliseconds = 300_000
    """It is never ejected for longer than this (plus up to a fifth of jitter)."""


class OverloadSettings(Section):
    """`[overload]`: above these an SFU takes no new channel."""

    max_load: Annotated[float, Field(gt=0)] = 0.9
    """Load score."""
    max_cpu: Annotated[float, Field(gt=0)] = 0.95
    """CPU usage (0 to 1)."""
    max_memory: Annotated[float, Field(gt=0)] = 0.95
    """Memory usage (0 to 1)."""


class AffinitySettings(Section):
    """`[affinity]`: how long an issuer keeps its SFU."""

    ttl: Annotated[int, Field(gt=0, le=31_536_000)] = 14_400
    """Seconds since its last request for which an issuer is remembered."""


class RegistrationSettings(Section):
    """`[registration]`: who may register an SFU. A registered SFU receives calls."""

    key: Keys = ()
    """Base64 key (several: comma-separated, for rotation) that signs the SFUs' heartbeat tokens."""
    auth: Literal["jwt", "none"] = "jwt"
    """`none` accepts every registration: for a network that only trusted hosts can reach."""
    allow: Texts = ()
    """Patterns of SFU addresses that may register, e.g. `http://10.0.*`; empty allows all."""
    allow_networks: Networks = PRIVATE_NETWORKS
    """Networks in which SFUs may be although they are not public: default private ones and loopback. All other
    special-purpose networks are refused, also where a name leads there."""
    allow_link_local: bool = False
    """Permit SFUs on link-local addresses and where clouds have their metadata services."""
    max_per_second: Annotated[float, Field(gt=0)] = 10.0
    """Heartbeats per second and address, on average."""
    burst: Annotated[int, Field(ge=1)] = 100
    """Heartbeats of one address that may come at once."""


class LimitsSettings(Section):
    """`[limits]`: how much a replica does at once of what is no channel request, and for whom."""

    max_heartbeats: Annotated[int, Field(ge=1)] = 256
    """Heartbeats a replica works on at once; more are refused at once."""
    max_disconnects: Annotated[int, Field(ge=1)] = 64
    """Disconnects a replica works on at once; more are refused at once."""
    max_operator_requests: Annotated[int, Field(ge=1)] = 8
    """Operators' requests with the admin token, and as many again without it, that a replica works on at once."""
    max_viewers: Annotated[int, Field(ge=1)] = 100
    """Event streams a replica serves at once."""
    max_viewers_per_caller: Annotated[int, Field(ge=1)] = 20
    """Event streams of one caller's address. Behind a proxy that `trust_proxy` does not name, all share one."""
    max_replayed_events: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """The newest events, which a replica keeps for viewers that come back; older ones are not replayed."""
    failed_logins_per_minute: Annotated[float, Field(gt=0)] = 60.0
    """Invalid credentials of one address that are answered with 401; beyond it, with 429. Valid ones always pass."""
    failed_logins_burst: Annotated[int, Field(ge=1)] = 20
    """Invalid credentials of one address that may come at once."""


class OpsSettings(Section):
    """`[ops]`: a second port for operators. With it, the first serves channels, heartbeats and probes only."""

    bind: Annotated[str, AfterValidator(listening_host)] | None = None
    """Address to listen on; default: that of the first port (`bind`)."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Port of the dashboard, health, events, metrics, explanations and orders; without one they are on `port`."""


class RedisSettings(Section):
    """`[redis]`: the Redis that replicas share."""

    url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """`redis://`, `rediss://`, `redis+sentinel://host:port,.../service`, `redis+cluster://host:port,...`.
    Without one an embedded Redis serves a single replica."""
    namespace: Name = "sfu"
    """Prefix and hash tag of every key: one fleet, one namespace."""
    timeout_ms: Milliseconds = 250
    """A call, or a new connection, that takes longer has failed. A channel request waits for Redis at most 1.2 times
    as long, in all its calls together."""
    max_connections: Annotated[int, Field(ge=1)] = 64
    """Connections of one replica; callers wait for a free one, at most `timeout_ms`."""


class SealingSettings(Section):
    """`[sealing]`: how SFU keys are encrypted at rest in Redis."""

    keys: Keys = ()
    """Base64 keys of 16, 24 or 32 bytes; the first seals, all of them open. Default: derived from `key`."""


class LogSettings(Section):
    """`[log]`: one line per event on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is written."""
    format: Literal["auto", "json", "text"] = "auto"
    """`text` for people, `json` for machines; `auto` is text on a terminal, else JSON."""


class TracingSettings(Section):
    """`[tracing]`: OpenTelemetry traces of channel requests. Needs the extra `otel`."""

    endpoint: Annotated[str, AfterValidator(_http_url)] = ""
    """OTLP/HTTP URL that spans are sent to, e.g. `http://collector:4318/v1/traces`; none traces nothing."""
    sample_ratio: Share = 1.0
    """Share of traces that are kept, where the caller has not decided."""


class GeoipSettings(Section):
    """`[geoip]`: the caller's country as the last region hint."""

    database: Path | None = None
    """A country database in MaxMind's .mmdb format. Needs the extra `geoip`."""


class StaticSfuSettings(Section):
    """`[[sfu]]`: an SFU that sends no heartbeats. Replicas keep it registered."""

    address: Annotated[str, BeforeValidator(sfu_address)]
    """Base URL at which the gateway reaches it."""
    region: Annotated[Name, BeforeValidator(_region)] = DEFAULT_REGION
    """Its region."""
    key: OneKey
    """Its base64 auth key."""
    max_sessions: Capacity | None = None
    """Its capacity; default `balancing.max_sessions`."""
    public_url: Annotated[str, BeforeValidator(_optional_address)] = ""
    """Base URL at which browsers reach it, when that is another one."""


class TenantSettings(Section):
    """`[[tenant]]`: another Odoo, or the same one during key rotation."""

    name: Name
    """What its placements are counted under."""
    key: Annotated[Keys, Field(min_length=1)]
    """Base64 key (several: comma-separated) its channel requests are signed with."""
    region: Name | None = None
    """The region its channels prefer when the request says none."""
    region_allow: Names = ()
    """Regions its channels may ever be placed in; empty allows what `balancing.region_allow` allows."""
    max_placements: Annotated[int, Field(ge=1)] | None = None
    """Issuers (calls) it may have placed; more are refused with 429. A placement counts for `affinity.ttl` after its
    last request, since no SFU says when a channel ends."""
    rescue_url: Annotated[str, BeforeValidator(_optional_address)] = ""
    """Base URL of its Odoo, which is told of calls that have lost their SFU; without one `rescue.allow` decides."""


class RescueSettings(Section):
    """`[rescue]`: Odoo is told of calls that lost their SFU; off without `allow` or a tenant's `rescue_url`."""

    allow: Texts = ()
    """Patterns of Odoo base URLs that may be told, e.g. `https://*.odoo.example.com`; an issuer names its own."""
    calls_per_second: Annotated[float, Field(gt=0)] = 50.0
    """Calls that one Odoo is told of per second, at most."""
    unreachable_after_s: Annotated[float, Field(gt=0, le=3_600)] = 3.0
    """Seconds without an answer to probes after which an SFU with a late heartbeat or a failed forward is down; a
    third of it where the connection is refused."""
    ejected_after_s: Seconds = 0
    """Seconds of ejection after which an SFU's calls are moved as by a drain; 0: never."""


class RegionPlace(Section):
    """`[[region]]`: a region that is not in the built-in table, or other coordinates for a region of the table."""

    name: Name
    """The name SFUs register with."""
    latitude: Annotated[float, Field(ge=-90, le=90)]
    """Degrees north."""
    longitude: Annotated[float, Field(ge=-180, le=180)]
    """Degrees east."""


class Settings(BaseSettings):
    """The gateway's settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    _refuse_truth_values = field_validator("*", mode="before")(classmethod(_refuse_truth_value))

    bind: Annotated[str, AfterValidator(listening_host)] = "0.0.0.0"  # noqa: S104 - a container listens on all interfaces
    """Address to listen on; `::` takes IPv6 and IPv4."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8071
    """Port to listen on; 0 takes a free one."""
    key: Keys = ()
    """Base64 key that Odoo signs channel requests with (several: comma-separated, for rotation).
    Required to serve."""
    nodes: Annotated[tuple[StaticSfuSettings, ...], NoDecode, BeforeValidator(_nodes)] = ()
    """Static SFUs as JSON: `{"sfu": [{"address": ..., "region": ..., "key": ...}]}`."""
    trust_proxy: Annotated[TrustedProxies, NoDecode, BeforeValidator(TrustedProxies.parse)] = TrustedProxies()
    """Who is believed about the caller's address: a number of proxies in front, or their networks,
    comma-separated."""
    admin_token: Annotated[SecretStr | None, AfterValidator(_token)] = None
    """Bearer token of the operators' routes; without one they are closed."""
    max_concurrent_requests: Annotated[int, Field(ge=1)] = 512
    """Channel requests a replica works on at once; more are refused at once."""

    keep_alive_s: Annotated[int, Field(ge=1, le=86_400)] = 75
    """Seconds for which a connection without a request stays open: longer than proxies keep theirs."""

    limits: LimitsSettings = LimitsSettings()
    ops: OpsSettings = OpsSettings()
    redis: RedisSettings = RedisSettings()
    health: HealthSettings = HealthSettings()
    balancing: BalancingSettings = BalancingSettings()
    failover: FailoverSettings = FailoverSettings()
    breaker: BreakerSettings = BreakerSettings()
    overload: OverloadSettings = OverloadSettings()
    affinity: AffinitySettings = AffinitySettings()
    registration: RegistrationSettings = RegistrationSettings()
    sealing: SealingSettings = SealingSettings()
    rescue: RescueSettings = RescueSettings()
    geoip: GeoipSettings = GeoipSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    sfu: tuple[StaticSfuSettings, ...] = ()
    tenant: tuple[TenantSettings, ...] = ()
    region: tuple[RegionPlace, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if _has_twins([DEFAULT_TENANT, *(tenant.name for tenant in self.tenant)]):
            raise ValueError(f"tenant: names must differ from each other and from {DEFAULT_TENANT!r}")
        if _has_twins([region.name for region in self.region]):
            raise ValueError("region: names must differ from each other")
        if _has_twins([sfu.address for sfu in self.static_sfus]):
            raise ValueError("sfu, nodes: the addresses of static SFUs must differ from each other")
        self._check_tenants()
        self._check_pairs()
        for key in self.sealing.keys:
            if len(key.secret) not in (16, 24, 32):
                raise ValueError("sealing.keys: a key must have 16, 24 or 32 bytes")
        return self

    def _check_pairs(self) -> None:
        """No setting makes another one useless."""
        if self.affinity.ttl * 1000 < self.failover.deadline_ms:
            raise ValueError("affinity.ttl: must not be shorter than failover.deadline_ms")
        if self.ops.port is not None and self.ops.port == self.port:
            raise ValueError("ops.port: must differ from port")
        if self.ops.bind is not None and self.ops.port is None:
            raise ValueError("ops.bind: has no effect without ops.port")
        if self.breaker.open_ms > self.breaker.max_open_ms:
            raise ValueError("breaker.open_ms: must not be longer than breaker.max_open_ms")
        if self.registration.max_per_second * self.next_ping_ms < 1000:
            raise ValueError("registration.max_per_second: refuses SFUs that keep health.ping_interval_ms")
        weights = self.balancing.weights
        total = weights.sessions + weights.cpu + weights.memory
        if self.balancing.strategy == "load" and not total:
            raise ValueError("balancing.weights: one of them must be above 0 for the strategy load")
        if total > MOST_WEIGHT:
            raise ValueError(f"balancing.weights: together they must be at most {MOST_WEIGHT:,}")

    def _check_tenants(self) -> None:
        """Every key belongs to one tenant, and every tenant and every static SFU has a region that is allowed."""
        owners = {key.secret: DEFAULT_TENANT for key in self.key}
        everywhere = set(self.balancing.region_allow)
        for tenant in self.tenant:
            for key in tenant.key:
                owner = owners.setdefault(key.secret, tenant.name)
                if owner != tenant.name:
                    raise ValueError(f"tenant {tenant.name}: has a key of tenant {owner}: give each its own")
            if everywhere and tenant.region_allow and not everywhere & set(tenant.region_allow):
                raise ValueError(
                    f"tenant {tenant.name}: region_allow and balancing.region_allow have no region in common"
                )
            for allowed in (everywhere, set(tenant.region_allow)):
                if tenant.region and allowed and tenant.region not in allowed:
                    raise ValueError(f"tenant {tenant.name}: region_allow leaves out its own region")
        for sfu in self.static_sfus:
            if everywhere and sfu.region not in everywhere:
                raise ValueError(f"sfu, nodes: balancing.region_allow leaves out the region of {sfu.address}")

    @property
    def static_sfus(self) -> tuple[StaticSfuSettings, ...]:
        """Static SFUs: those of `nodes`, else those of `sfu`."""
        return self.nodes or self.sfu

    @property
    def allowed_addresses(self) -> tuple[str, ...]:
        """Patterns of the SFU addresses the gateway may talk to: `registration.allow` and static SFUs."""
        if not self.registration.allow:
            return ()
        return self.registration.allow + tuple(glob.escape(sfu.address) for sfu in self.static_sfus)

    @property
    def allowed_networks(self) -> tuple[IpNetwork, ...]:
        """Special-purpose networks that the gateway may connect to: those set, and static SFUs by number."""
        numbers = (literal_ip(sfu.address) for sfu in self.static_sfus)
        return self.registration.allow_networks + tuple(
            ipaddress.ip_network(number) for number in numbers if number is not None
        )

    def address_guard(self) -> AddressGuard:
        """Return the guard of every connection to an SFU."""
        return AddressGuard(
            self.allowed_addresses,
            self.allowed_networks,
            allow_link_local=self.registration.allow_link_local,
        )

    @property
    def has_rescue(self) -> bool:
        """Whether an Odoo may be told of calls that have lost their SFU."""
        return bool(self.rescue.allow or any(tenant.rescue_url for tenant in self.tenant))

    @property
    def next_ping_ms(self) -> int:
        """The heartbeat interval SFUs are told: two may get lost before an SFU counts as down."""
        return max(1, min(self.health.ping_interval_ms, int(self.health.unhealthy_threshold * 1000 / 3)))

    def missing_to_serve(self) -> str | None:
        """What a replica cannot start without and has not got, in a sentence; `None` when all is there."""
        if not self.key:
            return f"{ENV_PREFIX}KEY (key in TOML): required; it is the base64 key that Odoo signs with"
        return None

    def warnings(self) -> Iterable[str]:
        """What is allowed and probably not meant, one sentence each."""
        if self.registration.auth == "none":
            yield "registration.auth is none: every host that reaches this port can register an SFU and receive calls"
        if not self.health.public and self.admin_token is None:
            yield "health.public is off and there is no admin_token: no caller can read /v1/health"
        if self.failover.deadline_ms >= ODOO_TIMEOUT_MS:
            yield "failover.deadline_ms: Odoo hangs up after 3 s"
        if self.redis.timeout_ms >= self.failover.deadline_ms:
            yield "redis.timeout_ms is not below failover.deadline_ms: a Redis that hangs takes the whole request"
        channel_keys = {
            key.secret for keys in (self.key, *(each.key for each in self.tenant)) for key in keys
        }
        if any(key.secret in channel_keys for key in self.registration.key):
            yield "registration.key is also a key of channel requests: who asks for calls can register SFUs"
        named = [("key", self.key), ("registration.key", self.registration.key)]
        named += [(f"tenant {tenant.name}: key", tenant.key) for tenant in self.tenant]
        for name, keys in named:
            if any(key.is_short for key in keys):
                yield f"{name} has fewer than 32 bytes, which is short for HS256 (RFC 7518 section 3.2)"


def _has_twins(names: Sequence[str]) -> bool:
    return len(set(names)) != len(names)


DEFAULT_TENANT: Final = "default"
"""The tenant of requests signed with `key`."""


def setting_names() -> list[str]:
    """Every environment variable that is a setting, in the order of the classes."""
    return [ENV_PREFIX + "__".join(path).upper() for path, _, _ in walk(Settings)]


def walk(
    model: type[BaseModel], above: tuple[str, ...] = ()
) -> Iterable[tuple[tuple[str, ...], type[BaseModel], str]]:
    """Every setting below `model`: its path, the class it stands in, and its name there."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from walk(field.annotation, (*above, name))
        else:
            yield (*above, name), model, name
