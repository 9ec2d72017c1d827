import base64
from pathlib import Path

import pytest

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.names import NAME_PATTERN
from workers.agent.settings import SECRETS, AgentSettings, load_agent_settings, variable_names

AUTH_KEY = base64.b64encode(b"the key of this SFU and no other").decode()
LEAST = {"SFU_GATEWAY_URL": "http://gateway:8071", "AUTH_KEY": AUTH_KEY, "PUBLIC_IP": "203.0.113.7"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variable_names():
        monkeypatch.delenv(name, raising=False)


def settings_of(monkeypatch: pytest.MonkeyPatch, **variables: str) -> AgentSettings:
    for name, value in (LEAST | variables).items():
        monkeypatch.setenv(name, value)
    return load_agent_settings()


def test_three_variables_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch)
    assert settings.gateway_urls == ("http://gateway:8071",)
    assert settings.address == settings.local_url == "http://203.0.113.7:8070"
    assert (settings.ping_interval_ms, settings.region, settings.agent_port) == (10_000, "default", 8079)
    assert settings.registration_key is None
    assert settings.cgroup is None
    assert settings.agent_bind == "127.0.0.1"


def test_several_gateways_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = settings_of(monkeypatch, SFU_GATEWAY_URL="http://a:8071/, https://b/sfu").gateway_urls
    assert urls == ("http://a:8071", "https://b/sfu")


def test_the_address_may_differ_from_where_the_sfu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch, SFU_ADDRESS="http://SFU1:8070/", SFU_LOCAL_URL="http://127.0.0.1:8070"
    )
    assert (settings.address, settings.local_url) == ("http://sfu1:8070", "http://127.0.0.1:8070")


def test_an_ipv6_address_becomes_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch, PUBLIC_IP="2001:db8::7").address == "http://[2001:db8::7]:8070"


@pytest.mark.parametrize(("given", "host"), [("[::]", "::"), ("::1", "::1"), ("0.0.0.0", "0.0.0.0")])
def test_the_address_of_the_agent_s_port_may_stand_in_brackets(
    monkeypatch: pytest.MonkeyPatch, given: str, host: str
) -> None:
    assert settings_of(monkeypatch, SFU_AGENT_BIND=given).agent_bind == host


def test_of_several_registration_keys_the_first_one_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = settings_of(monkeypatch, SFU_GATEWAY_REGISTRATION__KEY=AUTH_KEY).registration_key
    two = settings_of(monkeypatch, SFU_GATEWAY_REGISTRATION__KEY=f"{AUTH_KEY},b3RoZXI=").registration_key
    assert one is not None
    assert two is not None
    assert one.sign({}) == two.sign({})


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, SFU_MAX_SESSIONS="", SFU_PUBLIC_URL="", SFU_ADDRESS="")
    assert (settings.max_sessions, settings.public_url, settings.registered_address) == (None, None, None)


def test_outer_white_space_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch,
        SFU_GATEWAY_URL=" http://gateway:8071\n",
        SFU_ADDRESS="http://sfu1:8070\n",
        SFU_REGION=" eu-west ",
        SFU_GATEWAY_PING_INTERVAL="5000\n",
        SFU_CGROUP="none\n",
        SFU_PUBLIC_URL=" \n",
    )
    assert settings.gateway_urls == ("http://gateway:8071",)
    assert (settings.address, settings.region) == ("http://sfu1:8070", "eu-west")
    assert (settings.ping_interval_ms, settings.cgroup) == (5_000, "none")
    assert settings.public_url is None


def test_a_port_that_kubernetes_names_for_a_service_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch, SFU_AGENT_PORT="tcp://10.0.0.1:8072").agent_port == 8079


def test_none_turns_the_control_group_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch, SFU_CGROUP="none").cgroup == "none"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SFU_GATEWAY_URL", "gateway:8071"),
        ("SFU_GATEWAY_URL", "http://user@gateway"),
        ("SFU_GATEWAY_URL", "http://gateway:99999"),
        ("SFU_GATEWAY_URL", "http://gateway:0"),
        ("SFU_GATEWAY_URL", "http://gateway?region=eu"),
        ("SFU_GATEWAY_URL", ","),
        ("SFU_GATEWAY_PING_INTERVAL", "0"),
        ("SFU_GATEWAY_REGISTRATION__KEY", "s*cret"),
        ("SFU_REGION", "eu west"),
        ("AUTH_KEY", "s*cret"),
        ("PUBLIC_IP", "not a host"),
        ("PORT", "70000"),
        ("SFU_ADDRESS", "sfu1:8070"),
        ("SFU_LOCAL_URL", "http://127.0.0.1:8070/v1"),
        ("SFU_PUBLIC_URL", "ftp://sfu"),
        ("SFU_MAX_SESSIONS", "none"),
        ("SFU_AGENT_PORT", "-1"),
        ("SFU_AGENT_BIND", "0.0.0.0:8079/x"),
        ("SFU_AGENT_BIND", "a..b"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{name}") as caught:
        settings_of(monkeypatch, **{name: value})
    assert "s*cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["SFU_GATEWAY_URL", "AUTH_KEY", "PUBLIC_IP"])
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        settings_of(monkeypatch, **{name: ""})


def test_keys_do_not_show_in_the_text_form(monkeypatch: pytest.MonkeyPatch) -> None:
    assert AUTH_KEY not in repr(settings_of(monkeypatch, SFU_GATEWAY_REGISTRATION__KEY=AUTH_KEY))


def test_regions_are_named_as_the_gateway_allows() -> None:
    constraints = AgentSettings.model_fields["region"].metadata
    assert [getattr(each, "pattern", None) for each in constraints].count(NAME_PATTERN) == 1


# Secrets in files


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_can_be_in_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("QUJD\n")
    needed = {"SFU_GATEWAY_URL": "http://gateway:8071", "PUBLIC_IP": "192.0.2.1", "AUTH_KEY": "QUJD"}
    for variable, value in (needed | {f"{name}_FILE": str(file)}).items():
        if variable != name:
            monkeypatch.setenv(variable, value)
    settings = load_agent_settings()
    by_name = {
        "AUTH_KEY": settings.auth_key.get_secret_value(),
        "SFU_GATEWAY_REGISTRATION__KEY": settings.registration_key,
    }
    assert by_name[name] in ("QUJD", Key(b"ABC"))
    monkeypatch.setenv(name, "QUJD")
    with pytest.raises(SettingsError, match=f"{name} and {name}_FILE: give one"):
        load_agent_settings()


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTH_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="AUTH_KEY_FILE: cannot read"):
        load_agent_settings()
