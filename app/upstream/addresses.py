"""SFU addresses: which texts are one, and which of them the gateway may talk to.

Who registers an address makes the gateway send requests there, so addresses are an SSRF door. Public addresses are
permitted, and networks that the operator allows; by default those are private ones and loopback. Every other network
of IANA's special-purpose registries is refused, and so are the clouds' metadata services, whether the address is
written as a number, reached through a name, or wrapped into another address. Where networks overlap, the longest
prefix decides.
"""

import fnmatch
import ipaddress
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from app.errors import AddressNotAllowed, InvalidField

MAX_ADDRESS_CHARACTERS = 255
MAX_LABEL_CHARACTERS = 63

_MOST_KNOWN: Final = 4_096
"""Addresses whose canonical form and verdict are remembered: each comes with every heartbeat and forward."""

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED_PREFIX: Final = 96
"""Bits of an IPv4-mapped IPv6 address before the IPv4 address (RFC 4291, section 2.5.5.2)."""

_HOST_AND_PORT: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]*)?", re.IGNORECASE)

_ENDS_IN_A_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?")
"""Hosts that resolvers read as an IPv4 address, however it is written (WHATWG URL, "ends in a number")."""

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64's well-known prefix (RFC 6052): the last 32 bits are where such an address leads."""

_TRANSLATED_LOCALLY: Final = (
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("::ffff:0:0:0/96"),
)
"""Local NAT64 prefixes (RFC 8215) and SIIT (RFC 2765): refused unless allowed, and then judged like NAT64."""

PRIVATE_NETWORKS: Final[tuple[IpNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
        *("::1/128", "fc00::/7"),
    )
)
"""Where SFUs may be by default, though these are not public: loopback, private use, and what carriers and clusters
use behind their NAT (RFC 1918, 4193, 6598)."""

_METADATA: Final = (
    *("fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32", "fd00:42::/32"),  # AWS, Google Cloud, Oracle, Scaleway
    *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),  # Alibaba Cloud, Azure, Oracle
)
"""Metadata and other inner services of clouds that are not on link-local addresses."""

_LINK_LOCAL: Final = ("169.254.0.0/16", "fe80::/10")

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_REFUSED: Final = (
    # https://www.iana.org/assignments/iana-ipv4-special-registry: not globally reachable, or reserved
    *(
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
    ),
    *(
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
    ),
    "224.0.0.0/4",
    # IPv6: all but the unicast space (2000::/3), and of that what
    # https://www.iana.org/assignments/iana-ipv6-special-registry takes out
    *("::/0", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)

_PUBLIC: Final = (
    "2000::/3",
    # Globally reachable by the same registries, inside of what is not
    *("192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:3::/32"),
    *("2001:4:112::/48", "2001:20::/28", "2001:30::/28"),
)

_Prefixes: TypeAlias = tuple[int, dict[int, bool]]
"""The verdicts of all networks of one prefix length: bits after the prefix; verdict by prefix."""


def sfu_address(text: object) -> str:
    """Return the canonical form of an SFU's base URL: lower-case scheme and host, no default port.

    Only http and https with a host: no user info, path, query or fragment. Raises `ValueError`.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ADDRESS_CHARACTERS:
        raise ValueError(f"must be a URL of at most {MAX_ADDRESS_CHARACTERS} characters")
    return _canonical(text)


@lru_cache(_MOST_KNOWN)
def _canonical(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must be a URL in printable ASCII")
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS:
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
    is_default = port is None or port == DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if is_default else f":{port}")


def parse_ip(text: str) -> IpAddress | None:
    """Return the IP address that `text` is, `None` where it is something else."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def literal_ip(address: str) -> IpAddress | None:
    """Return the IP address that an SFU's `address` names, `None` where its host is a name."""
    return parse_ip(urlsplit(address).hostname or "")


def unmapped(ip: IpAddress) -> IpAddress:
    """Return the IPv4 address inside an IPv4-mapped IPv6 address, any other one as it is."""
    return getattr(ip, "ipv4_mapped", None) or ip


def parse_network(text: str, *, strict: bool = True) -> IpNetwork:
    """Return the network that `text` is; one of IPv4-mapped IPv6 addresses is the IPv4 network inside it.

    Raises:
        ValueError: `text` is no network, or (`strict`) has bits set beyond its prefix.
    """
    network = ipaddress.ip_network(text, strict)
    first = unmapped(network.network_address)
    if first.version == network.version or network.prefixlen < _MAPPED_PREFIX:
        return network
    return ipaddress.ip_network((int(first), network.prefixlen - _MAPPED_PREFIX))


def listening_host(text: str) -> str:
    """Return the host to listen on that `text` is: an IP address, in brackets or not, or a name.

    Raises:
        ValueError: it is neither.
    """
    host = text.strip().removeprefix("[").removesuffix("]")
    labels = host.removesuffix(".").split(".")
    is_host = re.fullmatch(r"[A-Za-z0-9:._%-]+", host) and all(
        0 < len(label) <= MAX_LABEL_CHARACTERS for label in labels
    )
    if not is_host:
        raise ValueError("give an IP address or a host name, without a port")
    return host


def _canonical_host(host: str) -> str:
    try:
        if ":" in host:
            ip = unmapped(ipaddress.IPv6Address(host))  # the mapped form leads to the same SFU
            return f"[{ip}]" if ip.version == 6 else str(ip)
        if _ENDS_IN_A_NUMBER.fullmatch(host):
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError("must write an IP address in its usual form") from None
    name = host.removesuffix(".")  # the name with and without the dot is one SFU
    if not all(0 < len(label) <= MAX_LABEL_CHARACTERS for label in name.split(".")):
        raise ValueError(f"must name a host whose labels have 1 to {MAX_LABEL_CHARACTERS} characters")
    return name


def parse_address(field: str, text: object) -> str:
    """Return `sfu_address(text)`, or raise `InvalidField` naming `field`."""
    try:
        return sfu_address(text)
    except ValueError as error:
        raise InvalidField(field, str(error)) from None


class AddressGuard:
    """Decides which SFU addresses this gateway talks to."""

    def __init__(
        self,
        patterns: Iterable[str] = (),
        networks: Iterable[IpNetwork] = PRIVATE_NETWORKS,
        *,
        allow_link_local: bool = False,
    ) -> None:
        """Allow addresses that match shell-style `patterns` (none: all) and are public or in one of `networks`.

        `allow_link_local` opens link-local addresses and metadata services.
        """
        self._patterns = tuple(pattern.lower() for pattern in patterns)
        opened = (*_LINK_LOCAL, *_METADATA) if allow_link_local else ()
        verdicts: dict[IpNetwork, bool] = dict.fromkeys(_networks(*_REFUSED, *_LINK_LOCAL, *_METADATA), False)
        verdicts |= dict.fromkeys((*_networks(*_PUBLIC, *opened), *networks), True)
        self._ipv4_verdicts = _longest_first(verdicts, 4)
        self._ipv6_verdicts = _longest_first(verdicts, 6)
        self._objection = lru_cache(_MOST_KNOWN)(self._judge)

    def check(self, address: str) -> None:
        """Raise `AddressNotAllowed` unless a canonical `address` may register and be connected to."""
        objection = self._objection(address)
        if objection:
            raise AddressNotAllowed(objection)

    def _judge(self, address: str) -> str:
        """Return the objection to `address`; empty when it is allowed."""
        if self._patterns and not any(fnmatch.fnmatchcase(address, pattern) for pattern in self._patterns):
            return "the address matches no pattern of registration.allow"
        ip = literal_ip(address)  # the addresses of a name are judged when the gateway connects
        if ip is not None and not self.permits(ip):
            return (
                "link-local, metadata and other special-purpose addresses are not allowed "
                "(registration.allow_networks)"
            )
        return ""

    def permits(self, ip: IpAddress) -> bool:
        """Whether the gateway may open a connection to `ip`."""
        if ip.is_unspecified or ip.is_multicast:  # no setting opens these
            return False
        if isinstance(ip, ipaddress.IPv4Address):
            return _verdict(self._ipv4_verdicts, int(ip))
        embedded = _embedded_ipv4(ip)
        if embedded is not None:
            return self.permits(embedded)
        is_permitted = _verdict(self._ipv6_verdicts, int(ip))
        if is_permitted and any(ip in network for network in _TRANSLATED_LOCALLY):  # opened by the operator
            return self.permits(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
        return is_permitted


def _networks(*texts: str) -> tuple[IpNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _longest_first(verdicts: Mapping[IpNetwork, bool], version: int) -> list[_Prefixes]:
    """Return the verdicts on networks of one IP version as `_verdict` searches them."""
    by_length: dict[int, dict[int, bool]] = {}
    for network, verdict in verdicts.items():
        if network.version == version:
            host_bits = network.max_prefixlen - network.prefixlen
            by_length.setdefault(host_bits, {})[int(network.network_address) >> host_bits] = verdict
    return sorted(by_length.items())


def _verdict(prefixes: Iterable[_Prefixes], ip: int) -> bool:
    """Return the verdict of the longest prefix that matches; an address that none matches is permitted."""
    for host_bits, verdicts in prefixes:
        verdict = verdicts.get(ip >> host_bits)
        if verdict is not None:
            return verdict
    return True


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an address: mapped, NAT64, 6to4 and Teredo.

    IPv4-compatible addresses (RFC 4291) are not in use, and are refused as a whole.
    """
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
