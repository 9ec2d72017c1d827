"""The settings themselves: defaults, domains, what depends on what."""

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.crypto.tokens import Key
from app.settings.model import (
    AffinitySettings,
    BalancingSettings,
    BreakerSettings,
    FailoverSettings,
    HealthSettings,
    OpsSettings,
    OverloadSettings,
    RedisSettings,
    RegistrationSettings,
    RescueSettings,
    SealingSettings,
    Settings,
    StaticSfuSettings,
    TenantSettings,
    TracingSettings,
    WeightsSettings,
    setting_names,
)

LONG = Key(b"a key of thirty-two bytes, about")


def test_the_defaults_are_the_roadmaps() -> None:
    settings = Settings()
    assert settings.port == 8071
    assert settings.balancing.strategy == "load"
    assert settings.balancing.weights == WeightsSettings(sessions=0.5, cpu=0.3, memory=0.2)
    assert (settings.failover.max_retries, settings.failover.retry_timeout_ms) == (3, 5000)
    assert settings.health.unhealthy_threshold == 30
    assert settings.health.ping_interval_ms == 10_000


def test_the_defaults_are_safe() -> None:
    settings = Settings()
    assert settings.registration.auth == "jwt"
    assert not settings.registration.allow_link_local
    assert settings.trust_proxy.hops == 0
    assert settings.admin_token is None
    assert settings.failover.deadline_ms < 3000  # when Odoo hangs up


@pytest.mark.parametrize(
    ("section", "field"),
    [(Settings(), "port"), (Settings().balancing, "strategy"), (Settings().balancing.weights, "cpu")],
)
def test_nothing_can_be_changed(section: Any, field: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(section, field, getattr(section, field))


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (WeightsSettings, {"cpu": -0.1}),
        (WeightsSettings, {"cpu": float("nan")}),
        (WeightsSettings, {"cpu": float("inf")}),
        (BalancingSettings, {"strategy": "random"}),
        (BalancingSettings, {"choices": 0}),
        (BalancingSettings, {"region_allow": "eu west"}),
        (BalancingSettings, {"max_sessions": 0}),
        (BalancingSettings, {"max_sessions": 10**9 + 1}),
        (BalancingSettings, {"sessions_per_channel": 1e308}),
        (BalancingSettings, {"min_sessions_per_channel": 1e308}),
        (AffinitySettings, {"ttl": 10**12}),
        (HealthSettings, {"lost_ttl_s": 10**12}),
        (RescueSettings, {"ejected_after_s": 10**12}),
        (StaticSfuSettings, {"address": "http://sfu1", "key": "QUJD", "max_sessions": 10**15}),
        (TenantSettings, {"name": "other", "key": []}),
        (TenantSettings, {"name": "other", "key": ","}),
        (OpsSettings, {"bind": "a b"}),
        (FailoverSettings, {"max_retries": 0}),
        (FailoverSettings, {"retry_timeout_ms": 0}),
        (FailoverSettings, {"deadline_ms": 86_400_001}),
        (HealthSettings, {"unhealthy_threshold": 0}),
        (HealthSettings, {"unhealthy_threshold": float("inf")}),
        (BreakerSettings, {"failure_threshold": 0}),
        (OverloadSettings, {"max_load": float("inf")}),
        (RegistrationSettings, {"auth": "basic"}),
        (RegistrationSettings, {"key": "not base64!"}),
        (Settings, {"port": 65_536}),
        (Settings, {"trust_proxy": "nginx"}),
        (Settings, {"unheard": "of"}),
        (TracingSettings, {"endpoint": "http://collector:99999/v1/traces"}),
    ],
)
def test_a_value_outside_its_domain_is_refused(section: Any, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        section(**values)


@pytest.mark.parametrize(
    "given", ["eu-west, eu-central,", ["eu-west", "eu-central"], ("eu-west", "eu-central")]
)
def test_a_list_is_a_list_or_text_with_commas(given: Any) -> None:
    assert BalancingSettings(region_allow=given).region_allow == ("eu-west", "eu-central")


@pytest.mark.parametrize("given", ["QUJD, REVG", ["QUJD", "REVG"], [Key(b"ABC"), Key(b"DEF")]])
def test_several_keys_are_a_list_or_text_with_commas(given: Any) -> None:
    assert Settings(key=given).key == (Key(b"ABC"), Key(b"DEF"))


# Static SFUs

SFU = {"address": "HTTP://SFU1:80/", "region": "eu-west", "key": "QUJD"}


def test_an_sfu_has_a_canonical_address_and_one_key() -> None:
    sfu = StaticSfuSettings.model_validate(SFU)
    assert (sfu.address, sfu.key, sfu.public_url) == ("http://sfu1", Key(b"ABC"), "")
    with pytest.raises(ValidationError, match="exactly one key"):
        StaticSfuSettings.model_validate(SFU | {"key": "QUJD,REVG"})


def test_an_error_shows_no_value() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"key": "s3cret!", "sfu": [SFU | {"key": "s3cret!"}]})
    assert "s3cret" not in str(caught.value)


def test_a_public_url_is_a_base_url_too() -> None:
    assert StaticSfuSettings.model_validate(SFU | {"public_url": "https://SFU/"}).public_url == "https://sfu"
    with pytest.raises(ValidationError, match="no path"):
        StaticSfuSettings.model_validate(SFU | {"public_url": "https://sfu/path"})


def test_nodes_are_the_predecessors_json() -> None:
    second = SFU | {"address": "http://sfu2"}
    settings = Settings.model_validate({"sfu": [SFU], "nodes": json.dumps({"sfu": [second]})})
    assert [sfu.address for sfu in settings.static_sfus] == ["http://sfu2"]


@pytest.mark.parametrize("region", [None, ""])
def test_an_sfu_without_a_region_is_in_the_default_region(region: str | None) -> None:
    assert StaticSfuSettings.model_validate(SFU | {"region": region}).region == "default"


@pytest.mark.parametrize(
    ("given", "bind"),
    [("::", "::"), ("[::]", "::"), (" [2001:db8::1] ", "2001:db8::1"), ("sfu.example", "sfu.example")],
)
def test_bind_takes_brackets_and_names(given: str, bind: str) -> None:
    assert Settings(bind=given).bind == bind


@pytest.mark.parametrize(
    "bind", ["", "0.0.0.0:8071/", "http://x", "a b", "a..b", ".a", ".", "x" * 64 + ".example"]
)
def test_bind_refuses_what_is_no_host(bind: str) -> None:
    with pytest.raises(ValidationError, match="bind"):
        Settings(bind=bind)


def test_the_second_port_takes_brackets_too() -> None:
    assert OpsSettings(bind="[::1]", port=8072).bind == "::1"


def test_an_admin_token_has_no_white_space() -> None:
    assert Settings.model_validate({"admin_token": " abc\n"}).admin_token == SecretStr("abc")
    assert Settings.model_validate({"admin_token": " "}).admin_token is None
    with pytest.raises(ValidationError, match="no white space inside"):
        Settings.model_validate({"admin_token": "a b"})


@pytest.mark.parametrize(
    "nodes", ["", "[", "[]", "{}", '{"sfu": {}}', '{"sfu": [1]}', '{"sfu": [{"address": "http://sfu1"}]}']
)
def test_other_json_is_refused(nodes: str) -> None:
    with pytest.raises(ValidationError, match="nodes"):
        Settings.model_validate({"nodes": nodes})


# What depends on what


def test_an_sfu_can_be_given_only_once() -> None:
    with pytest.raises(ValidationError, match="addresses of static SFUs must differ"):
        Settings.model_validate({"sfu": [SFU, SFU | {"key": "REVG"}]})


@pytest.mark.parametrize("names", [["a", "a"], ["default"]])
def test_tenants_have_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(ValidationError, match="tenant: names must differ"):
        Settings(tenant=tuple(TenantSettings(name=name, key=(LONG,)) for name in names))


def test_a_region_can_be_given_only_once() -> None:
    place = {"name": "here", "latitude": 0, "longitude": 0}
    with pytest.raises(ValidationError, match="region: names must differ"):
        Settings.model_validate({"region": [place, place]})


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_sealing_key_has_a_size_of_aes(size: int) -> None:
    Settings(sealing=SealingSettings(keys=(Key(bytes(size)),)))
    with pytest.raises(ValidationError, match=r"sealing\.keys"):
        Settings(sealing=SealingSettings(keys=(Key(bytes(size + 1)),)))


@pytest.mark.parametrize(
    ("threshold", "interval", "told"),
    [(30, 10_000, 10_000), (30, 2_000, 2_000), (3, 10_000, 1_000), (0.3, 10_000, 100), (0.001, 10_000, 1)],
)
def test_two_heartbeats_may_get_lost(threshold: float, interval: int, told: int) -> None:
    settings = Settings(
        health=HealthSettings(unhealthy_threshold=threshold, ping_interval_ms=interval),
        registration=RegistrationSettings(max_per_second=1_000),
    )
    assert settings.next_ping_ms == told


def test_only_the_key_is_needed_to_serve() -> None:
    assert (Settings().missing_to_serve() or "").startswith("SFU_GATEWAY_KEY (key in TOML): required")
    assert Settings(key=(LONG,)).missing_to_serve() is None


def test_what_is_allowed_and_unwise_is_a_warning() -> None:
    short = Key(b"short")
    settings = Settings(
        key=(LONG, Key(b"brief")),
        registration=RegistrationSettings(key=(short,), auth="none"),
        tenant=(TenantSettings(name="other", key=(Key(b"small"),)),),
    )
    heads = [warning.partition(" has ")[0].partition(" is none")[0] for warning in settings.warnings()]
    assert heads == ["registration.auth", "key", "registration.key", "tenant other: key"]
    assert list(Settings(key=(LONG,)).warnings()) == []


def test_setting_names_are_environment_variables() -> None:
    names = setting_names()
    assert len(names) == len(set(names))
    assert {"SFU_GATEWAY_PORT", "SFU_GATEWAY_BALANCING__WEIGHTS__CPU", "SFU_GATEWAY_SFU"} <= set(names)
    assert "SFU_GATEWAY_BALANCING" not in names


def test_static_sfus_are_allowed_whatever_may_register() -> None:
    static = StaticSfuSettings(address="http://10.9.9.9:8070", key=Key(b"k" * 32))
    settings = Settings(sfu=(static,), registration=RegistrationSettings(allow=("http://10.0.*",)))
    assert settings.allowed_addresses == ("http://10.0.*", "http://10.9.9.9:8070")
    assert Settings(sfu=(static,)).allowed_addresses == ()


def test_an_empty_admin_token_is_none() -> None:
    assert Settings(admin_token="").admin_token is None


# What faces strangers


@pytest.mark.parametrize("token", ["a b", "a\tb", "schlüssel", "a\x00b"])
def test_an_admin_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValidationError, match="no white space inside"):
        Settings(admin_token=SecretStr(token))


@pytest.mark.parametrize("text", [" secret", "secret\n", "secret"])
def test_white_space_around_the_admin_token_is_no_part_of_it(text: str) -> None:
    token = Settings(admin_token=SecretStr(text)).admin_token
    assert token is not None
    assert token.get_secret_value() == "secret"


def test_the_two_ports_differ() -> None:
    with pytest.raises(ValidationError, match=r"ops\.port: must differ from port"):
        Settings(port=8071, ops=OpsSettings(port=8071))


def test_a_static_sfu_by_number_is_in_a_network_that_may_be_connected_to() -> None:
    settings = Settings(sfu=(StaticSfuSettings(address="http://192.0.2.7:8070", key=Key(b"k" * 32)),))
    assert settings.allowed_networks[:-1] == settings.registration.allow_networks
    assert str(settings.allowed_networks[-1]) == "192.0.2.7/32"


def test_networks_are_read_from_text_with_commas() -> None:
    registration = RegistrationSettings.model_validate({"allow_networks": "::ffff:10.0.0.0/104, fd00::/8"})
    assert [str(network) for network in registration.allow_networks] == ["10.0.0.0/8", "fd00::/8"]
    with pytest.raises(ValidationError, match="give networks"):
        RegistrationSettings.model_validate({"allow_networks": "10.0.0.1/8"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"key": (LONG,), "tenant": (TenantSettings(name="other", key=(LONG,)),)},
            "tenant other: has a key of tenant default",
            id="one key for two tenants",
        ),
        pytest.param(
            {
                "balancing": BalancingSettings(region_allow=("eu",)),
                "tenant": (TenantSettings(name="other", key=(LONG,), region_allow=("us",)),),
            },
            "tenant other: region_allow and balancing.region_allow have no region in common",
            id="no region is allowed",
        ),
        pytest.param(
            {"affinity": AffinitySettings(ttl=2), "failover": FailoverSettings(deadline_ms=2_001)},
            "affinity.ttl: must not be shorter",
            id="a placement ends before its request",
        ),
        pytest.param(
            {
                "balancing": BalancingSettings(region_allow=("eu",)),
                "tenant": (TenantSettings(name="other", key=(LONG,), region="us"),),
            },
            "tenant other: region_allow leaves out its own region",
            id="a tenant prefers a region that nobody may use",
        ),
        pytest.param(
            {"tenant": (TenantSettings(name="other", key=(LONG,), region="us", region_allow=("eu",)),)},
            "tenant other: region_allow leaves out its own region",
            id="a tenant prefers a region that it may not use",
        ),
        pytest.param(
            {
                "balancing": BalancingSettings(region_allow=("eu",)),
                "sfu": (StaticSfuSettings(address="http://sfu1:8070", key=LONG),),
            },
            "balancing.region_allow leaves out the region of http://sfu1:8070",
            id="a static SFU gets no calls",
        ),
        pytest.param(
            {"breaker": BreakerSettings(open_ms=300_001)},
            "breaker.open_ms: must not be longer than breaker.max_open_ms",
            id="the first ejection is longer than the longest",
        ),
        pytest.param(
            {"registration": RegistrationSettings(max_per_second=0.09)},
            "registration.max_per_second: refuses SFUs that keep health.ping_interval_ms",
            id="heartbeats are refused as soon as they come in time",
        ),
        pytest.param(
            {"ops": OpsSettings(bind="127.0.0.1")}, "ops.bind: has no effect", id="an address without a port"
        ),
        pytest.param(
            {"balancing": BalancingSettings(weights=WeightsSettings(sessions=0, cpu=0, memory=0))},
            "balancing.weights: one of them must be above 0",
            id="nothing counts",
        ),
        pytest.param(
            {"balancing": BalancingSettings(weights=WeightsSettings(sessions=1e308, cpu=1e308))},
            "balancing.weights: together they must be at most 1,000",
            id="loads that cannot be compared",
        ),
    ],
)
def test_settings_that_cannot_work_together_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**values)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"health": HealthSettings(public=False)}, "no caller can read /v1/health"),
        ({"failover": FailoverSettings(deadline_ms=3_000)}, "Odoo hangs up after 3 s"),
        ({"redis": RedisSettings(timeout_ms=2_500)}, "redis.timeout_ms is not below failover.deadline_ms"),
        (
            {
                "registration": RegistrationSettings(key=(LONG,)),
                "tenant": (TenantSettings(name="a", key=(LONG,)),),
            },
            "who asks for calls can register SFUs",
        ),
    ],
)
def test_settings_that_are_probably_not_meant_are_warned_of(values: dict[str, Any], warning: str) -> None:
    [said] = Settings(**values).warnings()
    assert warning in said


def test_the_defaults_are_not_warned_of() -> None:
    assert list(Settings(key=(LONG,)).warnings()) == []
