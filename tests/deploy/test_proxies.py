"""The examples for nginx and Caddy, with the real programs, before servers that count what they get."""

import http.client
import os
import re
import shlex
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.repository import ROOT
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers
from tests.support.tools import required_tool

NGINX: Final = ROOT / "deploy" / "nginx"
CADDY: Final = ROOT / "deploy" / "caddy"

PUBLIC: Final = ("/v1/channel", "/r/eu-west/v1/channel", "/v1/sfu", "/v1/disconnect", "/noop", "/v1/noop")
PRIVATE: Final = ("/metrics", "/v1/health", "/v1/events", "/dashboard", "/v1/admin/sfus/drain", "/livez", "/")


class Replica:
    """Stands for a gateway: counts requests and connections, and answers, or hangs up on `/v1/sfu`."""

    def __init__(self, port: int) -> None:
        """Listen on `port` of this machine."""
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.forwarded_for = ""
        self.hangs_up = False
        replica = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                replica.connections += 1
                super().setup()

            def answer(self) -> None:
                """Count it."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                replica.requests[f"{self.command} {self.path}"] += 1
                replica.forwarded_for = self.headers.get("X-Forwarded-For", "")
                if replica.hangs_up:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer((HOST, port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()

    def asked(self) -> Counter[str]:
        """Return what was asked, without the proxy's own health checks."""
        return Counter({name: count for name, count in self.requests.items() if "/readyz" not in name})


class Front:
    """A proxy and the two replicas behind it."""

    def __init__(self, kind: str, directory: Path) -> None:
        """Describe it; `with` starts it."""
        self.port, self.ports = free_port(), (free_port(), free_port())
        self.replicas = [Replica(port) for port in self.ports]
        self._stack = ExitStack()
        self._process = {"nginx": self._nginx, "caddy": self._caddy}[kind](directory)

    def __enter__(self) -> "Front":
        self._stack.enter_context(self._process)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for replica in self.replicas:
            replica.stop()

    def ask(self, path: str, method: str = "GET", **headers: str) -> int:
        """Return the status of an answer, 0 for none."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
            return connection.getresponse().status
        except (http.client.HTTPException, OSError):
            return 0
        finally:
            connection.close()

    def asked(self) -> Counter[str]:
        """Return what all replicas were asked."""
        return sum((replica.asked() for replica in self.replicas), Counter())

    def _replicas_in(self, text: str) -> str:
        return text.replace("127.0.0.1:8071", f"{HOST}:{self.ports[0]}").replace(
            "127.0.0.1:8081", f"{HOST}:{self.ports[1]}"
        )

    def _nginx(self, directory: Path) -> Process:
        program = required_tool("nginx", "apt-get install nginx-light")
        text = self._replicas_in((NGINX / "sfu-gateway.conf").read_text())
        text = re.sub(r"server \{\n    listen 80;.*?\n\}\n", "", text, flags=re.DOTALL)
        text = text.replace(
            "    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen {HOST}:{self.port};\n"
        )
        text = re.sub(r"    ssl_\S+ \S+;\n", "", text)
        config = nginx_config(directory, text)
        return Process(
            [program, "-p", directory, "-e", "stderr", "-c", config],
            log=directory / "nginx.log",
            ready=answers(f"http://{HOST}:{self.port}/", 404),
        )

    def _caddy(self, directory: Path) -> Process:
        program = required_tool("caddy", "apt-get install caddy")
        text = self._replicas_in((CADDY / "gateway.Caddyfile").read_text())
        config = directory / "Caddyfile"
        config.write_text(
            "{\n\tadmin off\n}\n" + text.replace("gateway.example.com", f"http://{HOST}:{self.port}")
        )
        return Process(
            [program, "run", "--adapter", "caddyfile", "--config", config],
            log=directory / "caddy.log",
            env={"XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
            ready=answers(f"http://{HOST}:{self.port}/", 404),
        )


def nginx_config(directory: Path, text: str) -> Path:
    """Write a whole configuration around a file for `http`."""
    (directory / "site.conf").write_text(text)
    paths = "".join(
        f"{name}_temp_path {directory}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(
        f"{user}daemon off; pid {directory}/nginx.pid; events {{}}\n"
        f"http {{ access_log off; {paths} include {directory}/site.conf; }}\n"
    )
    return config


@pytest.fixture(params=["nginx", "caddy"])
def front(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Front]:
    with Front(request.param, tmp_path) as running:
        yield running


def test_what_odoo_and_sfus_ask_passes_and_nothing_else_does(front: Front) -> None:
    assert {path: front.ask(path) for path in PUBLIC} == dict.fromkeys(PUBLIC, 200)
    assert {path: front.ask(path) for path in PRIVATE} == dict.fromkeys(PRIVATE, 404)


def test_connections_to_the_replicas_are_kept(front: Front) -> None:
    before = sum(replica.connections for replica in front.replicas)
    for _ in range(30):
        assert front.ask("/v1/channel") == 200
    assert sum(replica.connections for replica in front.replicas) - before <= 6


def test_a_replica_that_is_gone_costs_no_request(front: Front) -> None:
    front.replicas[0].stop()
    assert {front.ask("/v1/channel") for _ in range(10)} == {200}
    assert {front.ask("/v1/sfu", "POST") for _ in range(10)} == {200}


def test_a_replica_whose_machine_is_gone_costs_no_request(front: Front) -> None:
    """Nothing answers there, not even with a refusal. Odoo waits three seconds."""
    front.replicas[0].stop()
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server((HOST, front.ports[0]), backlog=0))
        for _ in range(4):  # they fill its queue; the kernel drops what comes after them
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        began = time.monotonic()
        assert {front.ask(path, method) for path, method in
                (("/v1/channel", "GET"), ("/v1/sfu", "POST"))} == {200}  # fmt: skip
        assert time.monotonic() - began < 2 * 3


def test_a_post_that_was_sent_is_never_sent_again(front: Front) -> None:
    for replica in front.replicas:
        replica.hangs_up = True
    assert front.ask("/v1/sfu", "POST") in (0, 502)
    assert front.asked() == {"POST /v1/sfu": 1}


def test_the_callers_address_comes_last(front: Front) -> None:
    front.ask("/v1/channel", **{"X-Forwarded-For": "198.51.100.9"})
    assert {replica.forwarded_for.split(", ")[-1] for replica in front.replicas if replica.requests} >= {HOST}


def certificates(directory: Path) -> None:
    """Make the certificate that the examples name."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x "
        f"-keyout {directory}/privkey.pem -out {directory}/fullchain.pem"
    )
    subprocess.run(shlex.split(command), check=True, capture_output=True)


@pytest.mark.parametrize("name", ["sfu-gateway", "odoo-sfu"])
def test_nginx_accepts_the_example_as_it_stands(name: str, tmp_path: Path) -> None:
    program = required_tool("nginx", "apt-get install nginx-light")
    certificates(tmp_path)
    text = re.sub(r"/etc/ssl/[a-z0-9.]+/", f"{tmp_path}/", (NGINX / f"{name}.conf").read_text())
    text = text.replace(
        "proxy_pass https://gateway.example.com", f"proxy_pass https://{HOST}"
    )  # it would be looked up
    config = nginx_config(tmp_path, text)
    words = shlex.split(f"{program} -t -q -p {tmp_path} -e stderr -c {config}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", sorted(CADDY.iterdir()), ids=lambda path: path.stem)
def test_caddy_accepts_the_example_as_it_stands(path: Path) -> None:
    program = required_tool("caddy", "apt-get install caddy")
    validate: list[str | Path] = [program, "validate", "--adapter", "caddyfile", "--config", path]
    valid = subprocess.run(validate, capture_output=True, text=True, check=False)
    formatted = subprocess.run([program, "fmt", path], capture_output=True, text=True, check=False)
    assert valid.returncode == 0, valid.stderr
    assert formatted.stdout == path.read_text()
