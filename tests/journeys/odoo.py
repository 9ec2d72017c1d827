"""An Odoo as the gateway and SFUs see it: requests exactly as each version makes them, and what it does then.

Nothing of the gateway's code is used: a mistake there must not be made here as well.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST

TIMEOUT_SECONDS: Final = 3
BASE_URL: Final = "https://odoo.example"
CHANNEL_KEY: Final = "9a1f0f5e-2f6b-4f0f-8f57-3c8f2d1f6b52"
"""A key of the browsers: Odoo 18.0 to master make a UUID and use its text."""

KEY_SEED: Final = base64.b64encode(bytes(range(32))).decode()
RECORDING_ADDRESS: Final = f"{BASE_URL}/mail/rtc/recording/7?signature=a+b/c%3D"


@dataclass(frozen=True, slots=True)
class Version:
    """What differs between versions in a request for a channel."""

    name: str
    scheme: str
    claims: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


VERSIONS: Final = (
    Version("17.0", "jwt"),
    Version("18.0", "jwt", {"key": CHANNEL_KEY}),
    Version("19.0", "jwt", {"key": CHANNEL_KEY}),
    Version("master", "Bearer", {"key": CHANNEL_KEY}, {"recordingAddress": RECORDING_ADDRESS}),
    Version("keySeed", "Bearer", {"keySeed": KEY_SEED}, {"recordingAddress": RECORDING_ADDRESS}),
)


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """What Odoo keeps of an answer while the call runs."""

    uuid: str
    url: str


class Odoo:
    """One database. `statuses` has what each request for a channel was answered with, 0 for no answer."""

    def __init__(self, version: Version, url: str, key: str) -> None:
        self.version = version
        self.url = url
        self.key = key
        self.statuses: list[int] = []

    def join(self, channel: int = 1) -> StoredChannel | None:
        """Ask for a channel, once; on any failure the call stays between browsers (`None`).

        A 2xx without `uuid` or `url` crashes the user's join: `KeyError`, or `ValueError` when it is no JSON.
        """
        claims = {"iss": f"{BASE_URL}:channel:{channel}", **self.version.claims}
        headers = {"Authorization": f"{self.version.scheme} {self._sign(claims, 30)}"}
        try:
            answer = httpx.get(
                f"{self.url}/v1/channel",
                headers=headers,
                params=self.version.query or None,
                timeout=TIMEOUT_SECONDS,
                trust_env=False,
                verify=NO_CERTIFICATES,
            )
        except httpx.TransportError:
            self.statuses.append(0)
            return None
        self.statuses.append(answer.status_code)
        if answer.is_error:
            return None
        document = answer.json()
        return StoredChannel(document["uuid"], document["url"])

    def disconnect(self, stored: StoredChannel, session_ids: list[int]) -> int:
        """Tell the SFU of a call that people left it; the status, which Odoo does not look at."""
        token = self._sign({"sessionIdsByChannel": {stored.uuid: session_ids}}, 20)
        address = f"{stored.url}/v1/disconnect"
        return httpx.post(
            address, content=token, timeout=TIMEOUT_SECONDS, trust_env=False, verify=NO_CERTIFICATES
        ).status_code

    def _sign(self, claims: Mapping[str, Any], life_seconds: int) -> str:
        header = {"typ": "JWT", "alg": "HS256"}
        every = {**claims, "exp": int(time.time()) + life_seconds}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, every))
        signature = hmac.digest(base64.b64decode(self.key), signed.encode(), hashlib.sha256)
        return f"{signed}.{_base64url(signature)}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Passed:
    """A request on its way to whom it is meant for."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """By name in lower case."""
    body: str

    @property
    def token(self) -> str:
        """The token that it carries, in its header or as its body."""
        return self.headers.get("authorization", "").partition(" ")[2] or self.body


class Passage:
    """A server in the way, which notes what passes: a wire tap before an SFU, or the proxy before both."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://{HOST}:{server.server_port}"
        self.passed: list[Passed] = []


@contextlib.contextmanager
def passage(target: Callable[[str], str], *, is_proxy: bool = False) -> Iterator[Passage]:
    """Stand before `target(path)`, a base URL; as a proxy, write `X-Forwarded-*` as docs/odoo.md has it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            if is_proxy:
                headers["x-forwarded-for"] = self.client_address[0]
            parts = urlsplit(self.path)
            tap.passed.append(
                Passed(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body.decode())
            )
            kept = {name: value for name, value in headers.items() if name not in ("host", "connection")}
            answer = httpx.request(
                self.command,
                target(parts.path) + self.path,
                headers=kept,
                content=body,
                timeout=10,
                trust_env=False,
                verify=NO_CERTIFICATES,
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.send_header("Content-Type", answer.headers.get("content-type", "text/plain"))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        tap = Passage(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield tap
        finally:
            server.shutdown()
            thread.join()
