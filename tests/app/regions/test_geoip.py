"""The country of an address, from a real database and from damaged ones."""

import sys
from pathlib import Path

import pytest

from app.regions.geoip import CountryByIp


class FakeReader:
    """Answers every look-up with one record, or raises it."""

    def __init__(self, record: object) -> None:
        self.record = record
        self.is_closed = False

    def get(self, _ip_address: str, /) -> object:
        if isinstance(self.record, Exception):
            raise self.record
        return self.record

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A real .mmdb of two documentation networks (RFC 5737, RFC 3849)."""
    writer_library = pytest.importorskip("mmdb_writer")
    netaddr = pytest.importorskip("netaddr")
    writer = writer_library.MMDBWriter(ip_version=6, ipv4_compatible=True)
    writer.insert_network(netaddr.IPSet(["192.0.2.0/24"]), {"country": {"iso_code": "FR"}})
    writer.insert_network(netaddr.IPSet(["2001:db8::/32"]), {"country_code": "JP"})
    path = tmp_path / "country.mmdb"
    writer.to_db_file(str(path))
    return path


def test_an_address_has_the_country_of_its_network(database: Path) -> None:
    pytest.importorskip("maxminddb")
    countries = CountryByIp.open(database)
    assert countries.country_of("192.0.2.7") == "FR"
    assert countries.country_of("2001:db8::7") == "JP"
    assert countries.country_of("198.51.100.7") is None
    assert countries.country_of("not an address") is None
    countries.close()


@pytest.mark.parametrize(
    "record",
    [
        None,
        "FR",
        {},
        {"country": {}},
        {"country": {"iso_code": 33}},
        {"continent": {"code": "EU"}},
        ValueError("no address"),
        RuntimeError("the file is damaged"),
    ],
)
def test_an_address_without_a_country_gives_none(record: object) -> None:
    assert CountryByIp(FakeReader(record)).country_of("192.0.2.7") is None


def test_closing_lets_the_file_go() -> None:
    reader = FakeReader(None)
    CountryByIp(reader).close()
    assert reader.is_closed


def test_a_missing_database_names_the_setting(tmp_path: Path) -> None:
    pytest.importorskip("maxminddb")
    with pytest.raises(ValueError, match=r"^geoip\.database: cannot read .*absent\.mmdb"):
        CountryByIp.open(tmp_path / "absent.mmdb")


@pytest.mark.parametrize("content", [b"", b"this is no MaxMind DB"])
def test_a_file_that_is_no_database_names_the_setting(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("maxminddb")
    path = tmp_path / "country.mmdb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^geoip\.database: cannot read"):
        CountryByIp.open(path)


def test_a_missing_package_names_the_setting_and_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ValueError, match=r"^geoip\.database: .*sfu-gateway\[geoip\]"):
        CountryByIp.open(tmp_path / "country.mmdb")
