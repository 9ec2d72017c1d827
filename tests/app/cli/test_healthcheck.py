"""The health check of containers: light, and it asks where the replica listens."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.healthcheck import check
from tests.support.ports import HOST, free_port


class Replica:
    """Answers each connection with one status."""

    def __init__(self, host: str = HOST, status: str = "200 OK") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.asked = ""
        self._status = status
        self._server = socket.create_server((host, 0), family=family)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.asked = connection.recv(4096).decode()
                connection.sendall(f"HTTP/1.1 {self._status}\r\nContent-Length: 0\r\n\r\n".encode())

    def close(self) -> None:
        """Stop listening."""
        self._server.close()


@pytest.fixture
def replica() -> Iterator[Replica]:
    """A replica that is alive."""
    made = Replica()
    yield made
    made.close()


def test_a_replica_that_answers_is_alive(replica: Replica) -> None:
    assert check(environ={"SFU_GATEWAY_PORT": str(replica.port)}) == ""
    assert replica.asked.startswith(f"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:{replica.port}\r\n")


def test_a_url_names_another_replica(replica: Replica) -> None:
    assert check(f"http://{HOST}:{replica.port}", environ={}) == ""


def test_the_file_names_the_port_and_the_environment_wins(replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'port = {replica.port}\nbind = "127.0.0.1"')
    assert check(config=str(file), environ={}) == ""
    file.write_text("port = 1")
    assert check(environ={"SFU_GATEWAY_CONFIG": str(file), "SFU_GATEWAY_PORT": str(replica.port)}) == ""


def test_the_file_of_a_windows_editor_names_the_port(replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_bytes(f"\ufeffport = {replica.port}\r\n".encode())
    assert check(config=str(file), environ={}) == ""


def test_what_kubernetes_says_of_a_service_is_no_port(replica: Replica, tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f"port = {replica.port}")
    assert check(config=str(file), environ={"SFU_GATEWAY_PORT": "tcp://10.0.0.1:80"}) == ""


@pytest.mark.parametrize("bind", ["::", "[::1]"])
def test_a_replica_on_ipv6_is_found(bind: str) -> None:
    replica = Replica("::1")
    try:
        assert check(environ={"SFU_GATEWAY_BIND": bind, "SFU_GATEWAY_PORT": str(replica.port)}) == ""
    finally:
        replica.close()


def test_a_replica_that_is_not_alive_says_so() -> None:
    replica = Replica(status="503 Service Unavailable")
    try:
        assert check(f"http://{HOST}:{replica.port}") == f"http://{HOST}:{replica.port}/livez: 503"
    finally:
        replica.close()


@pytest.mark.parametrize("url", ["http://localhost:99999", "http://[::1", "http://a..b:1"])
def test_a_url_that_is_none_is_named(url: str) -> None:
    assert check(url).startswith(url)


def test_a_port_without_a_replica_fails_the_command() -> None:
    port = free_port()
    environ = os.environ | {"SFU_GATEWAY_PORT": str(port), "SFU_GATEWAY_BIND": HOST}
    command = [sys.executable, "-m", "app", "healthcheck"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"http://{HOST}:{port}/livez: ConnectionRefusedError\n")


def test_the_check_imports_no_command_line() -> None:
    heavy = {"typer", "pydantic", "asyncio", "app.settings.model", "http.client"}
    code = f"import sys, app.cli.entry, app.cli.healthcheck; print(*({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )
