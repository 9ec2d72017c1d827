"""Listening sockets: an address of either family, or `::` for both at once."""

import errno
import socket
from typing import Final

_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port`; 0 takes a free port.

    `::` takes IPv4 too, and IPv4 alone where the kernel has no IPv6. Raises `OSError`: the port is taken, or
    `host` is no address of this machine.
    """
    if host == "::":
        try:
            return _bound(socket.AF_INET6, ("::", port), is_dual=True)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            host = "0.0.0.0"  # noqa: S104 - asked for
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _bound(family, address, is_dual=False)


def _bound(family: int, address: tuple[object, ...], *, is_dual: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not is_dual))
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
