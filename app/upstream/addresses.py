"""SFU addresses: which texts are one, and which of them the gateway may talk to.

Whoever registers an address makes the gateway send requests there, so addresses are an SSRF door: multicast
and unspecified addresses are refused, and so are link-local ones and the clouds' metadata services unless the
operator opens them, whether written as a number or reached through a name.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from app.errors import AddressNotAllowed, InvalidField

MAX_ADDRESS_CHARACTERS = 255

_MOST_JUDGED: Final = 4_096
"""Addresses whose verdict is remembered: each is asked about at every heartbeat and forward."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?", re.IGNORECASE)

_ENDS_IN_A_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?")
"""Hosts that resolvers read as an IPv4 address, however it is written (WHATWG URL, "ends in a number")."""

_EMBEDS_IPV4: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
"""NAT64 (RFC 6052) and IPv4-compatible addresses (RFC 4291): the last 32 bits are where they lead."""

_METADATA: Final = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)
"""Metadata services that are not on link-local addresses: AWS, Alibaba Cloud, Azure."""


def sfu_address(text: object) -> str:
    """Return the canonical form of an SFU's base URL: lower-case scheme and host, no default port.

    Only http and https with a host: no user info, path, query or fragment. Raises `ValueError`.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ADDRESS_CHARACTERS:
        raise ValueError(f"must be a URL of at most {MAX_ADDRESS_CHARACTERS} characters")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must be a URL in printable ASCII")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not contain user info")
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("must have no path, query or fragment")
    if not _HOST_AND_PORT.fullmatch(parts.netloc) or not parts.hostname:
        raise ValueError("must name a host")
    port = parts.port  # raises ValueError itself when out of range
    if port == 0:
        raise ValueError("must not use port 0")
    shown = _canonical_host(parts.hostname)
    is_default = port is None or port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if is_default else f":{port}")


def _canonical_host(host: str) -> str:
    try:
        if ":" in host:
            return f"[{ipaddress.IPv6Address(host)}]"
        return str(ipaddress.IPv4Address(host)) if _ENDS_IN_A_NUMBER.fullmatch(host) else host
    except ValueError:
        raise ValueError("must write an IP address in its usual form") from None


def parse_address(field: str, text: object) -> str:
    """Return `sfu_address(text)`, or raise `InvalidField` naming `field`."""
    try:
        return sfu_address(text)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None


class AddressGuard:
    """Decides which SFU addresses this gateway talks to."""

    def __init__(self, patterns: Iterable[str] = (), *, allow_link_local: bool = False) -> None:
        """Take shell-style `patterns` of allowed addresses (none: all) and whether link-local may pass."""
        self._patterns = tuple(pattern.lower() for pattern in patterns)
        self._allow_link_local = allow_link_local
        self._objection = lru_cache(_MOST_JUDGED)(self._judge)

    def check(self, address: str) -> None:
        """Raise `AddressNotAllowed` unless a canonical `address` may register and be connected to."""
        objection = self._objection(address)
        if objection:
            raise AddressNotAllowed(objection)

    def _judge(self, address: str) -> str:
        """What speaks against `address`; empty when nothing does."""
        if self._patterns and not any(fnmatch.fnmatchcase(address, pattern) for pattern in self._patterns):
            return "the address matches no pattern of registration.allow"
        host = urlsplit(address).hostname or ""
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return ""  # a name: `permits` is asked about what it resolves to, at each connection
        if not self.permits(ip):
            return "link-local, metadata, multicast and unspecified addresses are not allowed"
        return ""

    def permits(self, ip: IpAddress) -> bool:
        """Whether the gateway may open a connection to `ip`."""
        if isinstance(ip, ipaddress.IPv6Address):
            embedded = _embedded_ipv4(ip)
            if embedded is not None:
                return self.permits(embedded)
        if ip.is_multicast or ip.is_unspecified:
            return False
        return self._allow_link_local or not (ip.is_link_local or ip in _METADATA)


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(ip in network for network in _EMBEDS_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
