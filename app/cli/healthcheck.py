"""`sfu-gateway healthcheck` without the command line: a container runs it every few seconds.

It imports little: the settings model and a command-line parser cost ten times what the check does.
"""

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 3.0
_DEFAULT_PORT: Final = 8071
_ANY: Final = {"0.0.0.0", "::", ""}  # noqa: S104 - compared, not bound


def check(url: str = "", config: str | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Ask a replica's `/livez`; return what is wrong, empty when it is alive.

    `url` is the replica's base URL; default: where the settings of this machine let it listen.
    """
    try:
        targets = [_target_of(url)] if url else list(_own_targets(config, environ))
    except ValueError as error:
        return f"{url}: {error}"
    trouble = ""
    for host, port in targets:
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            status = _status_of(host, port, name)
        except (OSError, UnicodeError) as error:
            trouble = f"http://{name}/livez: {type(error).__name__}"
            continue
        return "" if status == "200" else f"http://{name}/livez: {status}"
    return trouble


def _target_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return parts.hostname or "", parts.port or 80


def _own_targets(config: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield where this machine's replica may listen, by the environment over the file over the defaults."""
    file = config or environ.get("SFU_GATEWAY_CONFIG", "").strip()
    document = {}
    if file:
        try:
            with open(file, "rb") as opened:  # noqa: PTH123 - pathlib costs more than the check
                document = tomllib.loads(opened.read().decode("utf-8-sig"))
        except (OSError, ValueError):
            document = {}  # the replica names what is wrong with its file
    # Kubernetes sets SFU_GATEWAY_PORT=tcp://... beside a Service of our name; that is no setting
    ports = (environ.get("SFU_GATEWAY_PORT", "").strip(), str(document.get("port")))
    bind = (environ.get("SFU_GATEWAY_BIND", "").strip() or str(document.get("bind", ""))).strip("[]")
    number = next((int(port) for port in ports if port.isdecimal()), _DEFAULT_PORT)
    for host in ("127.0.0.1", "::1") if bind in _ANY else (bind,):
        yield host, number


def _status_of(host: str, port: int, name: str) -> str:
    request = f"GET /livez HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((host, port), _TIMEOUT_S) as connection:
        connection.sendall(request.encode("ascii"))
        head = connection.makefile("rb").readline(256)
    words = head.decode("latin-1").split()
    return words[1] if len(words) > 1 else "no answer"
