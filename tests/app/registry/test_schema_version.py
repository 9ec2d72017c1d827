"""A process asks at its start whether it knows the data in Redis, and goes on asking."""

from collections.abc import Awaitable, Callable

import pytest

from app.crypto.tokens import Key
from app.errors import RegistryUnavailable
from app.main import create_app
from app.registry.schema_version import SchemaRefused, SchemaWatch
from app.settings.model import Settings
from tests.support.engines import fake_engine
from tests.support.logs import captured_logs
from tests.support.waiting import eventually

AWAY = RegistryUnavailable("away")
REFUSED = SchemaRefused("schema 9")


class Claims:
    """Answers one claim after the other; the last answer stays."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.count = 0

    async def __call__(self) -> None:
        """Claim once."""
        answer = self.answers[min(self.count, len(self.answers) - 1)]
        self.count += 1
        if answer is not None:
            raise answer

    def at_least(self, count: int) -> Callable[[], Awaitable[bool]]:
        """Whether so many claims were made."""

        async def check() -> bool:
            return self.count >= count

        return check


async def test_a_refusal_at_the_start_is_raised_and_logged() -> None:
    claims = Claims(REFUSED)
    with captured_logs() as text, pytest.raises(SchemaRefused, match="schema 9"):
        async with SchemaWatch(claims).running():
            pytest.fail("it started")
    assert "schema_refused" in text.getvalue()


async def test_a_redis_that_is_away_stops_nobody_and_is_asked_again() -> None:
    claims = Claims(AWAY, AWAY, None)
    async with SchemaWatch(claims, every_s=60, again_s=0.001).running():
        await eventually(claims.at_least(3))
    assert claims.count == 3


async def test_a_running_process_says_once_that_the_data_is_beyond_it() -> None:
    claims = Claims(None, REFUSED, REFUSED, AWAY, REFUSED)
    with captured_logs() as text:
        async with SchemaWatch(claims, every_s=0.001, again_s=0.001).running():
            await eventually(claims.at_least(6))
    assert text.getvalue().count("schema_unknown") == 1


async def test_a_defect_is_logged_and_the_process_goes_on_asking() -> None:
    claims = Claims(None, ZeroDivisionError(), None)
    with captured_logs() as text:
        async with SchemaWatch(claims, every_s=0.001, again_s=0.001).running():
            await eventually(claims.at_least(4))
    assert text.getvalue().count("schema_not_claimed") == 1


async def test_an_app_does_not_start_on_data_of_a_newer_schema() -> None:
    async with fake_engine().connect() as client:
        await client.hset("{sfu}:fleet", "schema", "9")
        app = create_app(Settings(key=(Key(b"k" * 32),)), redis=client)
        with pytest.raises(SchemaRefused, match="has schema 9"):
            async with app.router.lifespan_context(app):
                pytest.fail("it started")
