"""Redis behind TLS and the documented user's password: it works, and a wrong certificate is no riddle."""

import datetime as dt
import ipaddress
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.deploy.test_acl import PASSWORD, denied_by, documented_rights, permit
from tests.journeys.deployment import GATEWAY_KEY, REGISTRATION_KEY, Deployment, Replica
from tests.support.engines import RedisServer, required_binary
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.tools import is_ci
from tests.support.topologies import sentinel_set
from tests.support.waiting import eventually_sync

SFU = "http://127.0.0.1:9"
SFU_KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="


class Authority:
    """A certificate authority of the tests, good for an hour."""

    def __init__(self, file: Path) -> None:
        """Make one; its own certificate is in `file`."""
        self.file = file
        self._key = ec.generate_private_key(ec.SECP256R1())
        # All have one name, so that only the signature tells a wrong one.
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA of the tests")])
        itself = self._about(self._name, self._key.public_key(), is_authority=True)
        file.write_bytes(itself.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def certify(self, certificate: Path, key_file: Path) -> None:
        """Write a server's key and its certificate for `HOST`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "redis")])
        host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))])
        signed = self._about(name, key.public_key(), is_authority=False).add_extension(host, critical=False)
        certificate.write_bytes(
            signed.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def _about(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(_usage(is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(issuer, critical=False)
        )


def _usage(is_authority: bool) -> x509.KeyUsage:
    """Return what a key is for; Python 3.13 and newer accept no authority that does not say so."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True, slots=True)
class TlsServer:
    """A Redis whose plain port is for the tests only."""

    server: RedisServer
    tls_port: int
    certificate: Path
    key: Path

    def url(self, authority: Authority) -> str:
        """Return the gateway's URL, which believes in `authority`."""
        return f"rediss://gateway:{PASSWORD}@{HOST}:{self.tls_port}?ssl_ca_certs={authority.file}"

    def change_to(self, authority: Authority) -> None:
        """Forget all data, and go on with a certificate of another authority.

        The port is never closed meanwhile: a replica would be told of that first.
        """
        authority.certify(self.certificate, self.key)
        self.server.call(
            "CONFIG", "SET", "tls-cert-file", f"{self.certificate}", "tls-key-file", f"{self.key}"
        )
        self.server.call("CLIENT", "KILL", "USER", "gateway")
        self.server.call("FLUSHALL")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom the replicas believe."""
    return Authority(tmp_path / "ca.pem")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Whom they do not."""
    return Authority(tmp_path / "stranger.pem")


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> Iterator[TlsServer]:
    """Redis with TLS, on which the documented user may log in."""
    binary = tls_binary()
    certificate, key, port = tmp_path / "redis.pem", tmp_path / "redis.key", free_port()
    authority.certify(certificate, key)
    config = (
        f"tls-port {port}",
        f"tls-cert-file {certificate}",
        f"tls-key-file {key}",
        f"tls-ca-cert-file {authority.file}",
        "tls-auth-clients no",
    )
    with RedisServer(binary, tmp_path, config=config) as server:
        permit(server, *documented_rights())
        yield TlsServer(server, port, certificate, key)


def tls_binary() -> Path:
    """Return a redis-server with TLS; without one skip, but fail in CI if Debian's has lost it."""
    binary = required_binary("redis")
    if b"SSL_CTX_new" in binary.resolve().read_bytes():
        return binary
    reason = f"{binary} was built without TLS"
    if is_ci() and binary.parent == Path("/usr/bin") and Path("/etc/debian_version").exists():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def test_replica_and_sweeper_work_by_tls_as_the_documented_user(
    tls: TlsServer, authority: Authority, tmp_path: Path
) -> None:
    with Deployment(tls.url(authority), tmp_path, health__unhealthy_threshold="3") as deployment:
        assert_it_works(deployment)
        assert _kinds_of_connections(tls.server) == {"tls"}
    assert denied_by(tls.server) == []


def assert_it_works(deployment: Deployment) -> None:
    """An SFU registers, gets a channel, and is called down by the sweeper; nobody says the password."""
    replica, sweeper = deployment.replica(), deployment.sweeper()
    fleet = deployment.fleet(1, [replica], "--ping-interval-ms", "1000")
    eventually_sync(lambda: replica.selectable() == 1, timeout_seconds=10)
    answer = replica.ask()
    assert (answer.status_code, answer.json()["url"]) == (200, fleet.addresses[0])
    fleet.control(fleet.addresses[0], "heartbeats", {"silent": True})
    eventually_sync(lambda: replica.status_of(fleet.addresses[0]) in {"down", None}, timeout_seconds=10)
    assert PASSWORD not in replica.process.output + sweeper.output


def _kinds_of_connections(server: RedisServer) -> set[str]:
    """How the gateway's connections arrive: Redis does not say, but names the address they came to."""
    lines = str(server.call("CLIENT", "LIST")).splitlines()
    ours = [line for line in lines if "name=sfu-gateway" in line]
    assert len(ours) >= 2
    return {"plain" if f"laddr={server.address}" in line else "tls" for line in ours}


def test_a_replica_that_does_not_know_the_authority_says_so_and_serves_nobody(
    tls: TlsServer, stranger: Authority, tmp_path: Path
) -> None:
    port = free_port()
    process = Process(
        [sys.executable, "-m", "app", "serve"],
        log=tmp_path / "distrustful.log",
        env={
            "SFU_GATEWAY_KEY": GATEWAY_KEY,
            "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY,
            "SFU_GATEWAY_REDIS__URL": tls.url(stranger),
            "SFU_GATEWAY_BIND": HOST,
            "SFU_GATEWAY_PORT": str(port),
        },
        ready=answers(f"http://{HOST}:{port}/livez"),
        ready_seconds=20,
    )
    with process, httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
        replica = Replica(process, client)
        assert client.get("/readyz").status_code == 503
        for refused in (replica.ask(), replica.heartbeat(SFU, SFU_KEY)):
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
        assert_redis_is_called_away(process, snapshot=0)


def test_a_redis_with_a_strangers_certificate_is_away_and_channels_go_on(
    tls: TlsServer, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    with Deployment(tls.url(authority), tmp_path) as deployment:
        replica = deployment.replica()
        deployment.fleet(2, [replica], "--ping-interval-ms", "1000")
        eventually_sync(lambda: replica.selectable() == 2, timeout_seconds=10)
        for _ in range(2):  # when the second reading begins, the first is known to the replica
            _await_reading(tls.server)
        tls.change_to(stranger)
        eventually_sync(lambda: replica.client.get("/readyz").json()["mode"] == "snapshot")
        assert replica.ask().status_code == 200
        assert replica.heartbeat(SFU, SFU_KEY).status_code == 503
        assert_redis_is_called_away(replica.process, snapshot=2)
        assert tls.server.call("DBSIZE") == 0  # nothing was told to a server that nobody vouches for

        tls.change_to(authority)
        eventually_sync(lambda: replica.selectable() == 2, timeout_seconds=20)
        assert replica.ask().status_code == 200


def _await_reading(server: RedisServer) -> None:
    """Wait until the replica has read its snapshot once more; each reading leaves its time."""
    before = server.call("HGET", "{sfu}:fleet", "read_at")
    eventually_sync(lambda: server.call("HGET", "{sfu}:fleet", "read_at") != before, timeout_seconds=10)


def assert_redis_is_called_away(process: Process, snapshot: int) -> None:
    """The log says which SFUs the replica goes on with, and no password."""
    lines = [json.loads(line) for line in process.output.splitlines() if '"registry_away"' in line]
    assert [line["snapshot"] for line in lines] == [snapshot]
    assert "SSLCertVerificationError" in lines[0]["detail"]
    assert "certificate verify failed" in lines[0]["cause"]
    assert PASSWORD not in process.output


def test_sentinels_with_passwords_lead_replica_and_sweeper_to_the_primary(tmp_path: Path) -> None:
    with sentinel_set("redis", tmp_path) as group:
        for server in group.servers:
            permit(server, *documented_rights())
        for sentinel in group.sentinels:
            permit(sentinel, *documented_rights("acl sentinel"))
        url = group.url.replace("://", f"://gateway:{PASSWORD}@")
        url += f"?sentinel_username=gateway&sentinel_password={PASSWORD}"
        with Deployment(url, tmp_path, health__unhealthy_threshold="3") as deployment:
            assert_it_works(deployment)
        assert [entry for each in (*group.servers, *group.sentinels) for entry in denied_by(each)] == []
