"""The support bundle: complete, readable, and without a secret wherever one was planted."""

import base64
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.exits import Exit
from app.cli.support_bundle import masked
from app.crypto.tokens import Key
from tests.journeys.deployment import ADMIN_TOKEN, GATEWAY_KEY, REGISTRATION_KEY, Deployment, Replica
from tests.support.engines import RedisServer
from tests.support.ports import HOST, free_port

SFU = "http://127.0.0.1:9"
SFU_KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
PASSWORD = "planted-password-of-redis"


def key(name: str) -> str:
    """A base64 key that can be recognised in any form."""
    return base64.b64encode(f"planted {name}".encode().ljust(32, b"."))[:43].decode() + "="


PLANTED = {
    "KEY": key("gateway key"),
    "REGISTRATION__KEY": f"{key('registration key')},{key('former registration key')}",
    "ADMIN_TOKEN": "planted-admin-token",
    "SEALING__KEYS": key("sealing key"),
    "NODES": json.dumps({"sfu": [{"address": SFU, "region": "eu", "key": key("static key")}]}),
    "TRACING__ENDPOINT": "http://planted-user:planted-trace@collector:4318/v1/traces?token=planted-query",
}
TOML = f"""
[[tenant]]
name = "brussels"
key = "{key("tenant key")}"
rescue_url = "https://odoo.example.com"
"""
KEYS = ("gateway", "registration", "former registration", "sealing", "static", "tenant")


def bundle(
    directory: Path, *words: str, **settings: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Make one; return what was said and its files."""
    (directory / "gateway.toml").write_text(TOML)
    environment = {f"SFU_GATEWAY_{name}": value for name, value in (PLANTED | settings).items()}
    file = directory / "bundle.tar.gz"
    command = [sys.executable, "-m", "app", "support-bundle", "--config", str(directory / "gateway.toml")]
    done = subprocess.run(
        [*command, "--output", str(file), *words],
        env=environment | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != Exit.OK:
        return done, {}
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        parts = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return done, {Path(name).name: part.read().decode() for name, part in parts.items() if part}


def secrets() -> Iterator[str]:
    """Every form of everything that was planted."""
    yield from (PASSWORD, "planted", GATEWAY_KEY, REGISTRATION_KEY, ADMIN_TOKEN, SFU_KEY)
    for name in KEYS:
        text = key(f"{name} key")
        yield from (text, text.rstrip("="), text.replace("+", "-").replace("/", "_"))
        yield Key.from_base64(text).secret.hex()


@pytest.fixture
def url(own_server: RedisServer) -> str:
    """A Redis with a password."""
    own_server.call("ACL", "SETUSER", "gateway", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    return f"redis://gateway:{PASSWORD}@{own_server.address}"


@pytest.fixture
def replica(url: str, tmp_path: Path) -> Iterator[Replica]:
    """A gateway that an SFU has reported to, which has failed a call."""
    with Deployment(url, tmp_path) as running:
        replica = running.replica()
        assert replica.heartbeat(SFU, SFU_KEY).is_success
        replica.ask()
        yield replica


def test_it_has_everything_and_no_secret(replica: Replica, url: str, tmp_path: Path) -> None:
    done, files = bundle(tmp_path, REDIS__URL=url)
    assert done.returncode == Exit.OK, done.stderr
    assert files.keys() == {
        "versions.json", "settings.json", "diagnosis.json", "sfus.json", "events.jsonl", "doctor.json",
    }  # fmt: skip
    assert "troubles" in json.loads(files["diagnosis.json"])
    everything = "\n".join([done.stdout, done.stderr, *files.values()])
    for secret in secrets():
        assert secret not in everything, secret
    assert json.loads(files["sfus.json"])[0]["address"] == SFU
    assert json.loads(files["events.jsonl"].splitlines()[0])["type"] == "up"
    assert {"version", "sweeper"} <= {finding["check"] for finding in json.loads(files["doctor.json"])}
    told = json.loads(files["settings.json"])
    assert told["redis"].endswith(", database 0")
    assert told["settings"]["failover"]["max_retries"] == 3
    assert told["settings"]["tenant"][0]["name"] == "brussels"
    assert "SFU_GATEWAY_ADMIN_TOKEN" in told["variables"]
    assert json.loads(files["versions.json"])["packages"]["redis"]


def test_a_gateway_can_be_asked(replica: Replica, tmp_path: Path) -> None:
    done, files = bundle(tmp_path, "--gateway", replica.url, "--admin-token", ADMIN_TOKEN)
    assert done.returncode == Exit.OK, done.stderr
    assert "doctor.json" not in files
    assert json.loads(files["sfus.json"])[0]["address"] == SFU
    assert all(secret not in "\n".join(files.values()) for secret in secrets())


def test_a_redis_that_is_away_is_what_the_bundle_says(tmp_path: Path) -> None:
    done, files = bundle(tmp_path, REDIS__URL=f"redis://gateway:{PASSWORD}@{HOST}:{free_port()}")
    assert done.returncode == Exit.OK, done.stderr
    assert "does not answer" in json.loads(files["sfus.json"])["error"]
    assert json.loads(files["doctor.json"])[0]["check"] == "redis"
    assert PASSWORD not in "\n".join(files.values())


def test_an_archive_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    url = f"redis://{HOST}:{free_port()}"
    done, _ = bundle(tmp_path, "--output", str(tmp_path / "nowhere" / "file"), REDIS__URL=url)
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("--output: cannot write ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("eu-west", "eu-west"),
        ("https://user:pw@host/path?token=1#part", "https://***@host/path?***"),
        ("user:pw@host", "***"),
        (Key(b"secret"), "***"),
        ((Key(b"secret"),), ["***"]),
        (object(), "***"),
    ],
)
def test_a_setting_is_shown_without_credentials(value: object, shown: object) -> None:
    assert masked(value) == shown
