"""Listening on one address, on one family, or on both."""

import errno
import socket

import pytest

from app.server.sockets import listening_socket
from tests.support.ports import HOST


def reaches(host: str, port: int) -> bool:
    """Whether a connection to `host` is taken."""
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("bind", "reached"),
    [("::", {HOST, "::1"}), ("0.0.0.0", {HOST}), ("::1", {"::1"}), (HOST, {HOST}), ("localhost", {HOST})],
)
def test_an_address_takes_its_family_and_two_colons_take_both(bind: str, reached: set[str]) -> None:
    with listening_socket(bind, 0) as listening:
        listening.listen()
        port = listening.getsockname()[1]
        assert {host for host in (HOST, "::1") if reaches(host, port)} >= reached
        if bind != "localhost":
            assert {host for host in (HOST, "::1") if reaches(host, port)} == reached


def test_without_ipv6_two_colons_take_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def no_ipv6(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", no_ipv6)
    with listening_socket("::", 0) as listening:
        assert listening.family == socket.AF_INET


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening_socket(HOST, 0) as taken:
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            listening_socket(HOST, taken.getsockname()[1])


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(OSError, match="known"):
        listening_socket("gateway.invalid", 0)
