"""Reading the settings: who wins, who is named, what is never shown."""

import json
from pathlib import Path

import pytest

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.settings.loader import SECRETS, load_serving_settings, load_settings
from app.settings.model import Settings

KEY = "cmVwbGFjZSBtZSwgSSBhbSBpbiB0aGUgbWFudWFsIDE="
SECRET = "s3cret"
DEFAULTS = Settings().model_dump()


def load(toml: str, tmp_path: Path, **variables: str) -> Settings:
    """The settings of a file with this text, and of `SFU_GATEWAY_<name>` variables."""
    file = tmp_path / "gateway.toml"
    file.write_text(toml)
    return load_settings(file, {f"SFU_GATEWAY_{name}": value for name, value in variables.items()})


def load_env(**variables: str) -> Settings:
    return load_settings(None, {f"SFU_GATEWAY_{name}": value for name, value in variables.items()})


# Who wins


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    toml = "port = 1\n[balancing]\nchoices = 2\n[balancing.weights]\ncpu = 0.1\nmemory = 0.9"
    settings = load(toml, tmp_path, PORT="3", BALANCING__WEIGHTS__CPU="0.4")
    assert settings.port == 3
    assert settings.balancing.choices == 2
    assert settings.balancing.weights.model_dump() == {"sessions": 0.5, "cpu": 0.4, "memory": 0.9}


def test_without_anything_the_settings_are_the_defaults() -> None:
    assert load_settings(None, {}).model_dump() == DEFAULTS


def test_a_variable_names_the_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text("port = 1")
    other.write_text("port = 2")
    environ = {"SFU_GATEWAY_CONFIG": str(one)}
    assert load_settings(None, environ).port == 1
    assert load_settings(other, environ).port == 2


def test_every_kind_of_value_can_stand_in_the_environment() -> None:
    settings = load_env(
        KEY=f"{KEY},QUJD",
        TRUST_PROXY="10.0.0.0/8",
        ADMIN_TOKEN=SECRET,
        REDIS__URL="redis+sentinel://one,two/main",
        HEALTH__UNHEALTHY_THRESHOLD="2.5",
        BALANCING__STRATEGY="round-robin",
        BALANCING__REGION_ALLOW="eu-west,eu-central",
        REGISTRATION__ALLOW="http://10.0.*, http://sfu?",
        REGISTRATION__ALLOW_LINK_LOCAL="true",
        NODES=json.dumps({"sfu": [{"address": "http://sfu1:8070", "region": "eu-west", "key": "QUJD"}]}),
        TENANT='[{"name": "other", "key": "REVG"}]',
    )
    assert settings.key[1] == Key(b"ABC")
    assert str(settings.trust_proxy) == "10.0.0.0/8"
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == SECRET
    assert settings.health.unhealthy_threshold == 2.5
    assert settings.balancing.region_allow == ("eu-west", "eu-central")
    assert settings.registration.allow == ("http://10.0.*", "http://sfu?")
    assert settings.registration.allow_link_local
    assert settings.static_sfus[0].address == "http://sfu1:8070"
    assert settings.tenant[0].name == "other"


def test_lists_in_the_file_are_lists(tmp_path: Path) -> None:
    toml = f"""
        key = ["{KEY}", "QUJD"]
        [[sfu]]
        address = "http://sfu1:8070"
        key = "QUJD"
        [[region]]
        name = "here"
        latitude = 50
        longitude = 4.4
    """
    settings = load(toml, tmp_path)
    assert len(settings.key) == 2
    assert (settings.sfu[0].region, settings.region[0].latitude) == ("default", 50.0)


# Which variables are ours


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "tcp://10.0.0.1:8071"),
        ("PORT_8071_TCP", "tcp://10.0.0.1:8071"),
        ("PORT_8071_TCP_PROTO", "tcp"),
        ("PORT_8071_TCP_PORT", "8071"),
        ("PORT_8071_TCP_ADDR", "10.0.0.1"),
        ("SERVICE_HOST", "10.0.0.1"),
        ("SERVICE_PORT", "8071"),
        ("SERVICE_PORT_HTTP", "8071"),
        ("REDIS_SERVICE_HOST", "10.0.0.2"),
        ("REDIS_SERVICE_PORT_TCP_REDIS", "6379"),
        ("REDIS_PORT", "tcp://10.0.0.2:6379"),
        ("REDIS_HEADLESS_PORT_6379_TCP_ADDR", "10.0.0.2"),
    ],
)
def test_what_kubernetes_says_of_services_is_no_setting(name: str, value: str) -> None:
    assert load_env(**{name: value}).model_dump() == DEFAULTS


def test_what_belongs_to_the_sfus_side_is_no_setting() -> None:
    settings = load_env(URL="http://gateway:8071", PING_INTERVAL="10000")
    assert settings.model_dump() == DEFAULTS


def test_other_variables_are_none_of_our_business() -> None:
    settings = load_settings(None, {"PORT": "x", "SFU_REGION": "eu-west", "sfu_gateway_port": "1"})
    assert settings.model_dump() == DEFAULTS


@pytest.mark.parametrize("name", ["PROT", "REDIS_PORT", "REDIS__PORT", "BALANCING", "SERVICE", "Port"])
def test_an_unknown_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^SFU_GATEWAY_{name}: there is no such setting$"):
        load_env(**{name: SECRET})


def test_all_unknown_variables_are_named() -> None:
    with pytest.raises(SettingsError, match=r"(?s)^SFU_GATEWAY_A: .*\nSFU_GATEWAY_B: "):
        load_env(B="1", A="1")


@pytest.mark.parametrize(
    ("toml", "path"),
    [
        ("prot = 's3cret'", "prot"),
        ("[balancing]\nstrategies = 's3cret'", "balancing.strategies"),
        ("[balancing.weights]\ngpu = 's3cret'", "balancing.weights.gpu"),
        ("[[sfu]]\naddress='http://sfu1'\nkey='QUJD'\nname='s3cret'", "sfu.0.name"),
        ("config = 's3cret'", "config"),
    ],
)
def test_an_unknown_name_in_the_file_is_named(toml: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"\({path} in TOML\): there is no such setting$") as caught:
        load(toml, tmp_path)
    assert SECRET not in str(caught.value)


# Wrong values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", SECRET),
        ("PORT", "65536"),
        ("KEY", f"{SECRET}!"),
        ("REGISTRATION__KEY", f"QUJD,{SECRET}!"),
        ("REGISTRATION__AUTH", SECRET),
        ("REGISTRATION__ALLOW_LINK_LOCAL", SECRET),
        ("SEALING__KEYS", f"{SECRET}!"),
        ("REDIS__URL", f"redis://user:{SECRET}@redis:port"),
        ("REDIS__URL", f"redis://user:{SECRET}@ho\u2100st"),
        ("REDIS__URL", f"{SECRET}://redis"),
        ("REDIS__NAMESPACE", f"{SECRET} x"),
        ("TRUST_PROXY", SECRET),
        ("HEALTH__UNHEALTHY_THRESHOLD", "nan"),
        ("BALANCING__STRATEGY", SECRET),
        ("BALANCING__WEIGHTS__CPU", "inf"),
        ("BALANCING__REGION_ALLOW", f"eu-west,{SECRET} x"),
        ("FAILOVER__MAX_RETRIES", "2.5"),
        ("NODES", f'{{"sfu": "{SECRET}"'),
        ("NODES", f'{{"sfu": ["{SECRET}"]}}'),
        ("NODES", f'{{"sfu": [{{"address": "http://user:{SECRET}@sfu1", "key": "QUJD"}}]}}'),
        ("NODES", f'{{"sfu": [{{"address": "http://sfu1", "key": "{SECRET}!"}}]}}'),
        ("SFU", SECRET),
        ("TENANT", f'[{{"name": "other", "key": "{SECRET}"'),
        ("TENANT", f'[{{"name": "other", "key": "{SECRET}!"}}]'),
        ("REGION", f'["{SECRET}"]'),
    ],
)
def test_a_wrong_variable_is_named_and_its_value_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_env(**{name: value})
    assert str(caught.value).startswith(f"SFU_GATEWAY_{name}")
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__  # nor in a traceback


@pytest.mark.parametrize(
    ("toml", "path"),
    [
        ("port = 's3cret'", "port"),
        ("port = [8071]", "port"),
        ("port = true", "port"),
        ("[redis]\ntimeout_ms = true", "redis.timeout_ms"),
        ("[balancing.weights]\nsessions = false", "balancing.weights.sessions"),
        ("key = 5", "key"),
        ("key = ['QUJD', 's3cret!']", "key"),
        ("admin_token = 5", "admin_token"),
        ("balancing = 's3cret'", "balancing"),
        ("balancing.strategy = 's3cret'", "balancing.strategy"),
        ("redis.url = 's3cret'", "redis.url"),
        ("health.unhealthy_threshold = inf", "health.unhealthy_threshold"),
        ("sfu = 's3cret'", "sfu"),
        ("[[sfu]]\nkey = 'QUJD'", "sfu.0.address"),
        ("[[sfu]]\naddress = 'http://sfu1'\nkey = {a = 's3cret'}", "sfu.0.key"),
        ("[[tenant]]\nname = 'other'\nkey = 's3cret!'", "tenant.0.key"),
        ("[[region]]\nname = 'here'\nlatitude = 91\nlongitude = 0", "region.0.latitude"),
    ],
)
def test_a_wrong_value_in_the_file_is_named_and_not_shown(toml: str, path: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"\({path} in TOML\): ") as caught:
        load(toml, tmp_path)
    assert SECRET not in str(caught.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_env(PORT="x", FAILOVER__MAX_RETRIES="0")
    assert [line.partition(" ")[0] for line in str(caught.value).splitlines()] == [
        "SFU_GATEWAY_PORT",
        "SFU_GATEWAY_FAILOVER__MAX_RETRIES",
    ]


def test_settings_that_contradict_each_other_are_named() -> None:
    with pytest.raises(SettingsError, match=r"^tenant: names must differ"):
        load_env(TENANT='[{"name": "default", "key": "QUJD"}]')


# Files


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SFU_GATEWAY_CONFIG: cannot read .*absent\.toml: No such file"):
        load_settings(tmp_path / "absent.toml", {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SFU_GATEWAY_CONFIG: cannot read"):
        load_settings(None, {"SFU_GATEWAY_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfport = 9000\n", b"port = 9000\r\n", b"\xef\xbb\xbfport = 9000\r\n"]
)
def test_a_file_of_a_windows_editor_is_read(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    assert load_settings(file, {}).port == 9000


@pytest.mark.parametrize("content", [b"port = ", b"port 8071", b"\xff"])
def test_a_file_that_is_no_toml_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"SFU_GATEWAY_CONFIG: .*gateway\.toml is not TOML"):
        load_settings(file, {})


# Empty text, white space, files with secrets


def test_an_empty_variable_is_a_setting_that_is_not_given() -> None:
    names = (
        "REDIS__URL",
        "LOG__LEVEL",
        "PORT",
        "TENANT",
        "NODES",
        "BALANCING__STRATEGY",
        "GEOIP__DATABASE",
        "KEY",
    )
    assert load_env(**dict.fromkeys(names, " ")).model_dump() == DEFAULTS


def test_empty_text_in_the_file_is_a_setting_that_is_not_given(tmp_path: Path) -> None:
    toml = f'bind = ""\n[redis]\nurl = ""\n[[sfu]]\naddress = "http://sfu1/"\nregion = ""\nkey = "{KEY}"'
    settings = load(toml, tmp_path)
    assert settings.redis.url is None
    assert settings.bind == "0.0.0.0"
    assert [(sfu.address, sfu.region) for sfu in settings.static_sfus] == [("http://sfu1", "default")]


def test_outer_white_space_is_ignored() -> None:
    settings = load_env(PORT=" 8072\n", ADMIN_TOKEN=f" {SECRET}\n", REDIS__URL="redis://redis \n")
    assert settings.port == 8072
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == SECRET
    assert settings.redis.url is not None
    assert settings.redis.url.get_secret_value() == "redis://redis"


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_can_be_in_a_file(name: str, tmp_path: Path) -> None:
    values = {
        "REDIS__URL": "redis://redis",
        "NODES": json.dumps({"sfu": [{"address": "http://sfu1", "key": "QUJD"}]}),
        "SFU": json.dumps([{"address": "http://sfu1", "key": "QUJD"}]),
        "TENANT": json.dumps([{"name": "other", "key": "QUJD"}]),
    }
    file = tmp_path / "secret"
    file.write_text(f"{values.get(name, KEY)}\n")
    by_file = load_env(**{f"{name}_FILE": str(file)}).model_dump()
    assert by_file == load_env(**{name: values.get(name, KEY)}).model_dump() != DEFAULTS


def test_a_byte_order_mark_is_no_part_of_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbfQUJD\r\n")
    assert load_env(KEY_FILE=str(file)).key == load_env(KEY="QUJD").key


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SFU_GATEWAY_KEY and SFU_GATEWAY_KEY_FILE: give one"):
        load_env(KEY=KEY, KEY_FILE=str(tmp_path / "key"))


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read"), (b" \n", "is empty"), (b"\xff", "is not text")]
)
def test_a_file_without_a_secret_is_named(content: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"^SFU_GATEWAY_KEY_FILE: .*{message}"):
        load_env(KEY_FILE=str(file))


def test_only_secrets_can_be_in_files() -> None:
    with pytest.raises(SettingsError, match="SFU_GATEWAY_PORT_FILE: there is no such setting"):
        load_env(PORT_FILE="/nowhere")


@pytest.mark.parametrize("name", ["NODES", "SFU"])
def test_the_environment_replaces_the_static_sfus_of_the_file(name: str, tmp_path: Path) -> None:
    toml = "".join(f'[[sfu]]\naddress = "http://sfu{number}"\nkey = "{KEY}"\n' for number in (1, 2))
    sfus = [{"address": "http://sfu1", "key": "QUJD"}]
    settings = load(toml, tmp_path, **{name: json.dumps({"sfu": sfus} if name == "NODES" else sfus)})
    assert [(sfu.address, sfu.key) for sfu in settings.static_sfus] == [("http://sfu1", Key(b"ABC"))]


# What a replica cannot do without


def serving(tmp_path: Path, toml: str) -> Settings:
    file = tmp_path / "gateway.toml"
    file.write_text(toml)
    return load_serving_settings(file)


def test_a_replica_needs_the_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^SFU_GATEWAY_KEY \(key in TOML\): required"):
        serving(tmp_path, "")
