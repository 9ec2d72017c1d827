"""The operators' page: how it is served, what it may load, and what its data shows."""

import re
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from pydantic import SecretStr

from app.crypto.tokens import Key
from app.dashboard.counters import CREATED, ChannelCounter
from app.dashboard.files import assets, page
from app.dashboard.fleet_watch import FleetView
from app.errors import RegistryUnavailable
from app.registry.sfus import SfuStatus
from app.settings.model import HealthSettings, RegistrationSettings, Settings
from tests.support.apps import running_app

ADMIN_TOKEN = "of-the-operators"
SFU_KEY = "c2VjcmV0IGtleSBvZiBvbmUgU0ZVLCAzMiBieXRlcyEh"
SETTINGS = Settings(
    key=(Key(b"k" * 32),),
    admin_token=SecretStr(ADMIN_TOKEN),
    registration=RegistrationSettings(auth="none"),
)
HEARTBEAT = {
    "status": "up",
    "address": "http://127.0.0.1:9",
    "region": "eu-west",
    "key": SFU_KEY,
    "channels": 3,
    "sessions": 45,
    "cpuUsage": 0.35,
    "memoryUsage": 0.48,
}
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
async def replica() -> AsyncIterator[httpx.AsyncClient]:
    """A replica with an empty Redis."""
    async with running_app(SETTINGS) as client:
        yield client


# The page


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/"])
async def test_the_page_forbids_everything_inline_and_foreign(replica: httpx.AsyncClient, path: str) -> None:
    answer = await replica.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<style|style=|<script>|\son\w+=|javascript:", answer.text)


async def test_everything_the_page_names_is_relative_and_there(replica: httpx.AsyncClient) -> None:
    for path, headers in (("/dashboard", {}), ("/dashboard/", {}), ("/v1/health", HTML)):
        answer = await replica.get(path, headers=headers)
        links = re.findall(r'(?:href|src)="([^"#]+)"', answer.text)
        assert len(links) == 3
        for link in links:
            assert link.startswith(("./", "../"))
            found = await replica.get(str(httpx.URL(f"http://gateway{path}").join(link)))
            assert found.status_code == 200, link


async def test_every_module_that_is_imported_exists() -> None:
    for name, asset in assets().items():
        for wanted in re.findall(r'from "\./([\w.]+)"', asset.content.decode()):
            assert wanted in assets(), f"{name} imports {wanted}"


async def test_no_file_of_the_page_names_another_host() -> None:
    known = {"http://www.w3.org/2000/svg"}
    texts = [asset.content.decode() for asset in assets().values()] + [page("./")]
    assert {url for text in texts for url in re.findall(r"https?://[\w.][^\"'\s)]*", text)} <= known


async def test_files_are_revalidated_and_cost_nothing_when_unchanged(replica: httpx.AsyncClient) -> None:
    first = await replica.get("/dashboard/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    again = await replica.get("/dashboard/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2Ffiles.py", "%2e%2e%2ffiles.py"])
async def test_nothing_else_is_served(replica: httpx.AsyncClient, name: str) -> None:
    assert (await replica.get(f"/dashboard/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        ("text/html", True),
        (HTML["Accept"], True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/plain, */*", False),
        ("text/html;q=0, application/json", False),
        ("text/html; Q=0.000", False),
        ("application/json;q=0, text/html;q=0.1", True),
    ],
)
async def test_health_is_a_page_for_browsers_only(
    replica: httpx.AsyncClient, accept: str, is_page: bool
) -> None:
    answer = await replica.get("/v1/health", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/html" if is_page else "application/json")
    assert answer.headers["vary"] == "Accept"


async def test_a_runbook_is_one_section_as_plain_text(replica: httpx.AsyncClient) -> None:
    answer = await replica.get("/dashboard/runbooks/mass_expiry")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("## mass_expiry\n")
    assert answer.text.count("## ") == 1


# Its data


async def test_the_data_shows_the_fleet_and_no_secret(replica: httpx.AsyncClient) -> None:
    assert (await replica.post("/v1/sfu", json=HEARTBEAT)).status_code == 200
    answer = await replica.get("/v1/dashboard/data")
    document = answer.json()
    (sfu,) = document["sfus"]
    assert (sfu["address"], sfu["region"], sfu["state"]) == ("http://127.0.0.1:9", "eu-west", "selectable")
    assert (sfu["sessions"], sfu["channels"], sfu["load"]) == (45, 3, 0.2235)
    assert sfu["load"] == pytest.approx(sum(sfu["terms"]))
    assert document["mode"] == "available"
    assert document["admin"] is True
    assert sfu["headroom"] == 955
    assert [document["limits"][name] for name in ("maxLoad", "maxCpu", "maxMemory")] == [0.9, 0.95, 0.95]
    assert answer.headers["cache-control"] == "no-store"
    for secret in (SFU_KEY, ADMIN_TOKEN):
        assert secret not in answer.text


async def test_an_sfu_that_signed_off_shows_its_last_figures(replica: httpx.AsyncClient) -> None:
    await replica.post("/v1/sfu", json=HEARTBEAT)
    await replica.post("/v1/sfu", json=HEARTBEAT | {"status": "down"})
    (sfu,) = (await replica.get("/v1/dashboard/data")).json()["sfus"]
    assert (sfu["status"], sfu["state"]) == ("down", "signed-off")
    assert (sfu["sessions"], sfu["channels"], sfu["cpu"], sfu["headroom"]) == (45, 3, 0.35, 0)


FLEET_ROUTES = (
    "/v1/dashboard/data",
    "/v1/dashboard/history?address=http://127.0.0.1:9",
    "/v1/diagnosis",
    "/v1/events",
    "/v1/health",
)


@pytest.mark.parametrize("path", FLEET_ROUTES)
async def test_strangers_see_nothing_of_a_fleet_that_is_not_public(path: str) -> None:
    settings = SETTINGS.model_copy(update={"health": HealthSettings(public=False)})
    async with running_app(settings) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
        assert (await client.get("/dashboard")).status_code == 200
        assert (await client.get("/dashboard/main.js")).status_code == 200


@pytest.mark.parametrize("path", [path for path in FLEET_ROUTES if path != "/v1/events"])
async def test_operators_see_a_fleet_that_is_not_public(path: str) -> None:
    settings = SETTINGS.model_copy(update={"health": HealthSettings(public=False)})
    async with running_app(settings) as client:
        answer = await client.get(path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        assert answer.status_code == (503 if path == "/v1/health" else 200)
        assert "code" not in answer.json()


async def test_the_page_says_whether_sfus_may_register() -> None:
    for registration, is_open in ((RegistrationSettings(), False), (RegistrationSettings(auth="none"), True)):
        async with running_app(SETTINGS.model_copy(update={"registration": registration})) as client:
            assert (await client.get("/v1/dashboard/data")).json()["registration"] is is_open


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        (["gzip"], True),
        (["br, GZIP;q=0.5"], True),
        (["br", "gzip"], True),
        (["identity"], False),
        (["gzip;q=0"], False),
        (["identity, gzip ; q=0.000"], False),
        (["xgzip"], False),
    ],
)
async def test_the_data_is_packed_for_readers_that_take_it(
    replica: httpx.AsyncClient, accepted: list[str], is_packed: bool
) -> None:
    await replica.post("/v1/sfu", json=HEARTBEAT)
    del replica.headers["accept-encoding"]
    answer = await replica.get("/v1/dashboard/data", headers=[("Accept-Encoding", each) for each in accepted])
    assert (answer.headers.get("content-encoding") == "gzip") is is_packed
    assert answer.headers["vary"] == "Accept-Encoding"
    assert [sfu["address"] for sfu in answer.json()["sfus"]] == [HEARTBEAT["address"]]


async def test_refusals_are_counted_by_code(replica: httpx.AsyncClient) -> None:
    await replica.get("/v1/channel")
    await replica.get("/r/eu-west/v1/channel", headers={"Authorization": "jwt nonsense"})
    traffic = (await replica.get("/v1/dashboard/data")).json()["traffic"]
    assert traffic["channelsLastMinute"] == 0
    assert traffic["refusalsLastMinute"] == 2
    assert traffic["refusalsLastHour"] == {"credentials_missing": 1, "credentials_invalid": 1}


async def test_history_is_asked_for_by_address(replica: httpx.AsyncClient) -> None:
    answer = await replica.get("/v1/dashboard/history", params={"address": "http://127.0.0.1:9"})
    document = answer.json()
    assert document["stepMs"] * len(document["load"]) == 3_600_000
    missing = await replica.get("/v1/dashboard/history")
    assert (missing.status_code, missing.json()["field"]) == (422, "address")


# What its viewers share


class Fleet:
    """A registry that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.is_away = False
        self.is_believed = True
        self.now = 0.0
        self.stands_still_s = 0.0

    async def read(self) -> list[SfuStatus]:
        """Return one SFU, or fail."""
        self.reads += 1
        if self.is_away:
            raise RegistryUnavailable("away")
        self.now += self.stands_still_s
        return [SfuStatus("http://sfu1", "eu-west", "selectable", "closed", 1, 0)]


def _watch(fleet: Fleet) -> FleetView[bytes]:
    return FleetView(fleet.read, lambda: fleet.is_believed, _addresses, lambda: fleet.now)


def _addresses(sfus: Sequence[SfuStatus]) -> bytes:
    return ",".join(sfu.address for sfu in sfus).encode()


async def test_viewers_of_one_second_cost_one_read() -> None:
    fleet = Fleet()
    watch = _watch(fleet)
    for fleet.now in (0.0, 0.3, 0.9):
        await watch.look()
    assert fleet.reads == 1
    fleet.now = 1.1
    await watch.look()
    assert fleet.reads == 2


async def test_a_registry_that_fails_is_asked_once_a_second_and_the_last_sight_shown() -> None:
    fleet = Fleet()
    watch = _watch(fleet)
    await watch.look()
    fleet.is_away, fleet.now = True, 5.0
    for _ in range(3):
        seen = await watch.look()
        assert (seen.rendered, seen.age_ms) == (b"http://sfu1", 5000)
    assert fleet.reads == 2


async def test_a_registry_that_is_not_believed_is_not_read() -> None:
    fleet = Fleet()
    watch = _watch(fleet)
    await watch.look()
    fleet.is_believed, fleet.now = False, 7.0
    assert (await watch.look()).age_ms == 7000
    assert fleet.reads == 1


async def test_a_read_during_which_the_replica_stood_still_is_old_and_delays_no_later_one() -> None:
    fleet = Fleet()
    watch = _watch(fleet)
    fleet.stands_still_s = 14.0
    assert (await watch.look()).age_ms == 14_000
    fleet.stands_still_s = 0.0
    fleet.now += 1.1
    assert (await watch.look()).age_ms == 0
    assert fleet.reads == 2


async def test_another_situation_and_an_operators_command_are_seen_at_once() -> None:
    fleet, situation = Fleet(), "registry"
    watch = FleetView(fleet.read, lambda: fleet.is_believed, _addresses, lambda: fleet.now, lambda: situation)
    await watch.look()
    situation = "snapshot"
    await watch.look()
    assert fleet.reads == 2
    await watch.look()
    assert fleet.reads == 2
    watch.expire()
    await watch.look()
    assert fleet.reads == 3


# What it counts


def test_a_counter_knows_the_last_minute_and_the_last_hour() -> None:
    now = 1_000_000.0
    counter = ChannelCounter(lambda: now)
    counter.count(CREATED)
    now += 120
    counter.count(CREATED)
    counter.count("no_sfu")
    assert counter.last_minute() == {CREATED: 1, "no_sfu": 1}
    assert counter.last_hour() == {CREATED: 2, "no_sfu": 1}
    assert counter.created_by_minute()[-3:] == [1, 0, 1]
    now += 3600
    assert counter.last_hour().total() == 0
    assert sum(counter.created_by_minute()) == 0


def test_a_counter_keeps_no_more_than_its_slots() -> None:
    now = 0.0
    counter = ChannelCounter(lambda: now)
    for _ in range(2000):
        counter.count(CREATED)
        now += 5
    assert counter.last_hour()[CREATED] == 719
    assert len(counter.created_by_minute()) == 60
