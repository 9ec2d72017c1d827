"""What a replica checks before it opens anything, and what it starts with."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.errors import SettingsError
from app.main import create_app
from app.registry.client import close_client, connect
from app.settings.model import GeoipSettings, RedisSettings, Settings, StaticSfuSettings
from tests.support.apps import running_app
from tests.support.ports import HOST, free_port
from tests.support.simulated import KEY, bearing, running_sfu, token


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


async def test_a_replica_that_starts_while_redis_is_away_serves_its_static_sfus() -> None:
    redis = connect(RedisSettings(url=SecretStr(f"redis://{HOST}:{free_port()}")))
    async with running_sfu() as (sfu, _):
        static = StaticSfuSettings(address=sfu.address, region="eu-west", key=KEY)
        async with running_app(Settings(key=(KEY,), sfu=(static,)), redis) as client:
            assert (await client.get("/readyz")).json()["mode"] == "snapshot"
            answers = [await client.get("/v1/channel", headers=bearing(token())) for _ in range(2)]
            health = (await client.get("/v1/health")).json()
    await close_client(redis)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["uuid"] == answers[1].json()["uuid"]
    assert (health["mode"], health["selectable"]) == ("snapshot", 1)
