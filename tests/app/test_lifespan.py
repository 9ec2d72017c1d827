"""What a replica checks before it opens anything."""

from pathlib import Path

import pytest

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.main import create_app
from app.settings.model import GeoipSettings, Settings


@pytest.mark.parametrize("content", [None, b"", b"this is no MaxMind DB"])
def test_a_replica_does_not_start_without_the_country_database_it_was_given(
    content: bytes | None, tmp_path: Path
) -> None:
    database = tmp_path / "country.mmdb"
    if content is not None:
        database.write_bytes(content)
    settings = Settings(key=(Key(b"gateway key"),), geoip=GeoipSettings(database=database))
    with pytest.raises(SettingsError, match=r"^geoip\.database: cannot read .*country\.mmdb"):
        create_app(settings)
