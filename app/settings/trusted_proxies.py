"""The caller's address, which the gateway passes on to SFUs.

An SFU behind a proxy uses the leftmost entry of `X-Forwarded-For` as part of a channel's identity, so the gateway
replaces the header by one address. Of the header that the gateway gets, only the part that the operator's own proxies
wrote counts.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from app.upstream.addresses import IpNetwork, parse_ip, parse_network, unmapped

_LONGEST_ENTRY: Final = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")

_MOST_KNOWN: Final = 1024
"""Addresses that are not parsed again: callers are few and ask often."""

_ip_of: Final = lru_cache(_MOST_KNOWN)(parse_ip)


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies in front of the gateway: how many, or in which networks. None by default."""

    hops: int = 0
    networks: tuple[IpNetwork, ...] = ()

    @classmethod
    def parse(cls, value: object) -> "TrustedProxies":
        """Read the setting: a number of hops, a truth value (one hop), or networks separated by commas.

        Raises:
            ValueError: anything else.
        """
        if isinstance(value, TrustedProxies):
            return value
        if isinstance(value, bool | int):
            return cls._counted(int(value))
        text = ",".join(value) if isinstance(value, list | tuple) else str(value)
        text = text.strip().lower()
        if text in ("", "false", "no", "off", "true", "yes", "on"):
            return cls(hops=int(text in ("true", "yes", "on")))
        if re.fullmatch(r"-?[0-9]{1,9}", text):
            return cls._counted(int(text))
        try:
            networks = tuple(parse_network(part.strip(), strict=False) for part in text.split(","))
        except ValueError:
            raise ValueError("give a number of proxies, or networks such as 10.0.0.0/8,fd00::/8") from None
        return cls(networks=networks)

    @classmethod
    def _counted(cls, hops: int) -> "TrustedProxies":
        if not 0 <= hops <= 10:
            raise ValueError("the number of proxies must be between 0 and 10")
        return cls(hops=hops)

    def __str__(self) -> str:
        return ",".join(str(network) for network in self.networks) or str(self.hops)

    @property
    def is_empty(self) -> bool:
        """Whether no proxy is trusted, so that the peer of the connection is the caller."""
        return not self.hops and not self.networks

    def client_of(self, peer: str, forwarded_for: str) -> str:
        """Return the caller's address, given the connection's `peer` and the `X-Forwarded-For` it sent.

        Walks the chain from the right, the end that the operator's proxies wrote, to the first address that no
        trusted proxy has written. An entry that is not an IP address ends the walk before it.
        """
        chain = [part.strip() for part in forwarded_for.split(",") if part.strip()]  # RFC 9110, section 5.6.1
        client, remaining = peer, self.hops
        while chain and (remaining > 0 or self._is_trusted(client)):
            entry = chain.pop()
            claimed = _without_port(entry) if len(entry) <= _LONGEST_ENTRY else None
            if claimed is None:
                break
            client, remaining = claimed, remaining - 1
        return client

    def _is_trusted(self, address: str) -> bool:
        ip = _ip_of(address) if self.networks else None
        return ip is not None and any(ip in network for network in self.networks)


@lru_cache(_MOST_KNOWN)
def _without_port(entry: str) -> str | None:
    """Return the address in a header entry: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.

    An address with a zone (`fe80::1%eth0`) is refused: a zone is local to one host, and may be any text.
    """
    host = entry
    if entry.startswith("["):
        host = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        host = entry.partition(":")[0]
    ip = None if "%" in host else parse_ip(host)
    return None if ip is None else str(unmapped(ip))
