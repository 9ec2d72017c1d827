"""The country of an IP address, the weakest hint of a region. It needs a database that the operator mounts."""

from pathlib import Path
from typing import Protocol


class IpReader(Protocol):
    """The part of `maxminddb.Reader` that is used here."""

    def get(self, ip_address: str, /) -> object:
        """Return the record of the network that holds the address, or `None`."""

    def close(self) -> None:
        """Close the file."""


class CountryByIp:
    """The country of an IP address, by a MaxMind DB file (.mmdb) that the operator mounts."""

    __slots__ = ("_reader",)

    def __init__(self, reader: IpReader) -> None:
        self._reader = reader

    @classmethod
    def open(cls, database: Path) -> "CountryByIp":
        """Open the .mmdb file `database`. Raises `ValueError` when it, or its reader, is missing or unfit."""
        try:
            import maxminddb
        except ImportError as error:
            raise ValueError(
                "geoip.database: needs the package maxminddb; install sfu-gateway[geoip]"
            ) from error
        try:
            return cls(maxminddb.open_database(database))
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            raise ValueError(f"geoip.database: cannot read {database}: {error}") from error

    def country_of(self, address: str) -> str | None:
        """Return the ISO 3166-1 code for the IPv4 or IPv6 `address`; `None` when the file has none.

        Fails open: text that is no address, and a damaged record, have no country. A wrong hint must not make a
        call fail.
        """
        try:
            record = self._reader.get(address)
        except (ValueError, RuntimeError):  # maxminddb.InvalidDatabaseError is a RuntimeError
            return None
        return _country_in(record)

    def close(self) -> None:
        """Close the file. No look-up may follow."""
        self._reader.close()


def _country_in(record: object) -> str | None:
    """Read `country.iso_code` (GeoLite2, DB-IP Lite) or else `country_code` (ip-location-db)."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else record.get("country_code")
    return code if isinstance(code, str) else None
