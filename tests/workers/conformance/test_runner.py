"""Every clause is kept by the real gateway and the simulated SFU, and violated by a peer that breaks it."""

import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from app.crypto.tokens import Key
from tests.support.forking import ModuleProcess
from tests.support.middleman import Answered, Asked, Sabotage, changing, instead, middleman
from tests.support.plain_http import NO_CERTIFICATES
from tests.support.ports import HOST, free_port
from tests.support.processes import Process, answers, prints
from tests.support.simulated import KEY, NO_PEOPLE, running_sfu
from workers.conformance import clause as conformance_clause
from workers.conformance import gateway as conformance_gateway
from workers.conformance import sfu as conformance_sfu
from workers.conformance.clause import Clause, Outcome
from workers.conformance.played_sfu import PlayedSfu, playing_sfu
from workers.conformance.runner import hold_gateway, hold_sfu, report
from workers.conformance.sfu import PlayedOdoo, playing_odoo
from workers.simulator.faults import Delay, Fault, Garbage, Hang, NoUuid, Redirect, Refuse, Status
from workers.simulator.sfu import SfuConfig
from workers.simulator.tokens import Dialect

COMMAND = Path(sys.executable).with_name("sfu-gateway")
REGISTRATION_KEY = Key(b"the key that lets SFUs register!")
ADMIN_TOKEN = "the-token-of-this-test"
NOBODY_LISTENS = "http://127.0.0.1:9"
OK = {"status": "ok", "nextPingMs": 10_000, "draining": False}


@pytest.fixture(scope="module")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real gateway with an embedded redis."""
    url = f"http://{HOST}:{free_port()}"
    env = {
        "SFU_GATEWAY_BIND": HOST,
        "SFU_GATEWAY_PORT": url.rpartition(":")[2],
        "SFU_GATEWAY_KEY": Key(b"the key that Odoo signs with: 32").to_base64(),
        "SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(),
        "SFU_GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    log = tmp_path_factory.mktemp("conformance") / "gateway.log"
    with Process([COMMAND, "serve"], log=log, env=env, ready=answers(f"{url}/readyz"), ready_seconds=20):
        yield url


async def all_of(outcomes: AsyncIterator[Outcome]) -> list[Outcome]:
    return [outcome async for outcome in outcomes]


def violated(outcomes: list[Outcome]) -> list[str]:
    return [f"{outcome.id}: {outcome.detail}" for outcome in outcomes if not outcome.passed]


async def test_the_gateway_keeps_every_clause(gateway_url: str) -> None:
    assert violated(await all_of(hold_gateway(gateway_url, REGISTRATION_KEY))) == []


async def test_the_played_sfu_is_gone_afterwards(gateway_url: str) -> None:
    address = "http://sfu-of-this-test.invalid:8070"
    await all_of(hold_gateway(gateway_url, REGISTRATION_KEY, address))
    async with playing_sfu(gateway_url, REGISTRATION_KEY, address) as sfu:
        entry = await sfu.listed(lambda entry: entry is not None and entry["status"] == "down")
    assert entry is not None
    assert entry["status"] == "down"


@pytest.mark.parametrize("dialect", ["odoo", "strict"])
async def test_an_sfu_of_each_dialect_keeps_every_clause(dialect: Dialect) -> None:
    async with running_sfu(SfuConfig(key=KEY, people=NO_PEOPLE, dialect=dialect, proxy=True)) as (
        sfu,
        _,
    ):
        assert violated(await all_of(hold_sfu(sfu.address, KEY))) == []


@pytest.mark.parametrize("dialect", ["odoo", "strict"])
async def test_a_key_that_is_not_the_sfu_s_is_named_and_nothing_else_is_blamed(dialect: Dialect) -> None:
    config = SfuConfig(key=KEY, people=NO_PEOPLE, dialect=dialect, proxy=True)
    async with running_sfu(config) as (sfu, _):
        outcomes = await all_of(hold_sfu(sfu.address, Key(b"a key of another SFU, not of this")))
    blamed = {outcome.id: outcome.detail for outcome in outcomes if not outcome.passed}
    assert "--key (AUTH_KEY) is not this SFU's" in blamed.pop("KEY-1")
    assert set(blamed.values()) == {"not decided: see KEY-1"}
    assert {"SFU-1", "SFU-9", "SFU-11", "SFU-15"}.isdisjoint(blamed)


async def test_an_sfu_that_ignores_the_forwarded_address_breaks_that_clause_alone() -> None:
    async with running_sfu(SfuConfig(key=KEY, people=NO_PEOPLE)) as (sfu, _):
        [violation] = violated(await all_of(hold_sfu(sfu.address, KEY)))
    assert violation == "SFU-16: the caller 192.0.2.1 is seen as 127.0.0.1: set PROXY=1 (odoo/sfu)"


async def test_a_run_leaves_one_sfu_at_most_and_with_the_admin_token_none(gateway_url: str) -> None:
    async with httpx.AsyncClient(base_url=gateway_url, trust_env=False, verify=NO_CERTIFICATES) as client:
        before = await played(client)
        await all_of(hold_gateway(gateway_url, REGISTRATION_KEY, admin_token=ADMIN_TOKEN))
        assert await played(client) == before
        await all_of(hold_gateway(gateway_url, REGISTRATION_KEY))
        assert len(await played(client)) == len(before) + 1


async def played(client: httpx.AsyncClient) -> list[str]:
    """Addresses of the played SFUs that a gateway lists."""
    return [sfu["address"] for sfu in (await client.get("/v1/health")).json()["sfus"]]


async def test_who_does_not_answer_keeps_nothing() -> None:
    outcomes = await all_of(hold_sfu(NOBODY_LISTENS, KEY))
    outcomes += await all_of(hold_gateway(NOBODY_LISTENS, REGISTRATION_KEY))
    assert {outcome.detail.partition(" (")[0] for outcome in outcomes} == {"no answer"}


# Peers that break one clause each: a middleman in front of the real one.


def json_answer(document: object, status: int = 200) -> Answered:
    return Answered(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def refusal(status: int, code: str) -> Answered:
    problem = {"title": "no", "status": status, "detail": "no", "code": code}
    return Answered(status, json.dumps(problem).encode(), {"Content-Type": "application/problem+json"})


def replying(**changes: object) -> Sabotage:
    """Change fields of the reply to a heartbeat that was taken."""

    def change(asked: Asked, answered: Answered) -> Answered:
        if asked.path == "/v1/sfu" and answered.status == 200:
            return json_answer(answered.document | changes)
        return answered

    return changing(change)


def forgiving(code: str) -> Sabotage:
    """Take heartbeats that are to be refused with `code`."""
    return changing(
        lambda _, answered: json_answer(OK) if answered.document.get("code") == code else answered
    )


def turning(status: int, into: Answered) -> Sabotage:
    """Answer `into` instead of `status`."""
    return changing(lambda _, answered: into if answered.status == status else answered)


def only_the_first_key() -> Sabotage:
    """Refuse every key but the first, for ever."""
    keys: list[str] = []

    def is_another(asked: Asked) -> bool:
        keys.append(str(asked.document.get("key")))
        return keys[-1] != keys[0]

    return instead(is_another, refusal(409, "address_leased"))


def deaf_after_a_sign_off() -> Sabotage:
    """Take nothing in once somebody has signed off, and say that all is well."""
    farewells: list[Asked] = []

    def is_too_late(asked: Asked) -> bool:
        was_too_late = bool(farewells)
        if asked.document.get("status") == "down":
            farewells.append(asked)
        return was_too_late and asked.path == "/v1/sfu"

    return instead(is_too_late, json_answer(OK))


def says_down(asked: Asked) -> bool:
    return asked.document.get("status") == "down"


def repeating(asked: Asked, answered: Answered) -> Answered:
    """Repeat in a refusal what was sent."""
    if answered.status < 400:
        return answered
    detail = asked.body.decode(errors="replace")
    return replace(answered, body=json.dumps(answered.document | {"detail": detail}).encode())


KNOWN_FIELDS = {
    "status", "address", "region", "key", "channels", "sessions", "maxSessions", "cpuUsage", "memoryUsage",
    "draining", "publicUrl",
}  # fmt: skip

BROKEN_GATEWAYS: dict[str, Sabotage] = {
    "HB-1": replying(nextPingMs=0),
    "HB-2": instead(
        lambda asked: asked.document and "region" not in asked.document, refusal(422, "invalid_field")
    ),
    "HB-3": instead(lambda asked: asked.document.keys() - KNOWN_FIELDS, refusal(422, "invalid_field")),
    "HB-4": instead(lambda asked: asked.path == "/v1/health", json_answer({"sfus": []})),
    "HB-5": turning(400, refusal(500, "internal")),
    "HB-6": turning(422, refusal(422, "invalid_field")),
    "HB-7": instead(lambda asked: len(asked.body) > 65_536, json_answer(OK)),
    "HB-8": changing(
        lambda _, answered: (
            replace(answered, headers={"Content-Type": "application/json"})
            if answered.status >= 400
            else answered
        )
    ),
    "HB-9": changing(repeating),
    "AUTH-1": changing(lambda _, answered: replace(answered, headers={})),
    "AUTH-2": forgiving("credentials_invalid"),
    "AUTH-3": forgiving("credentials_expired"),
    "AUTH-4": forgiving("credentials_invalid"),
    "AUTH-5": forgiving("credentials_invalid"),
    "AUTH-6": forgiving("credentials_invalid"),
    "LEASE-1": forgiving("address_leased"),
    "LEASE-2": forgiving("address_leased"),
    "LEASE-3": only_the_first_key(),
    "DRAIN-1": replying(draining=False),
    "DRAIN-2": replying(draining=True),
    "OFF-1": instead(says_down, json_answer(OK)),
    "OFF-2": instead(says_down, refusal(404, "unknown_sfu")),
    "OFF-3": deaf_after_a_sign_off(),
}


@pytest.mark.parametrize("clause", list(conformance_gateway.CLAUSES), ids=lambda clause: clause.id)
async def test_a_gateway_that_breaks_a_clause_is_found_out(
    gateway_url: str, clause: Clause[PlayedSfu]
) -> None:
    async with middleman(gateway_url, BROKEN_GATEWAYS[clause.id]) as url:
        outcome = await decide(clause, playing_sfu(url, REGISTRATION_KEY))
    assert not outcome.passed
    assert outcome.detail


def channel(**members: str) -> Answered:
    return json_answer({"uuid": "7c0e", "url": "http://sfu.invalid"} | members)


def with_query(asked: Asked) -> bool:
    return "?" in asked.path


def with_new_uuid(_: Asked, answered: Answered) -> Answered:
    return channel(uuid=secrets.token_hex(8)) if "uuid" in answered.document else answered


def with_constant_uuid(_: Asked, answered: Answered) -> Answered:
    return channel() if "uuid" in answered.document else answered


BROKEN_SFUS: dict[str, Sabotage | Fault] = {
    "KEY-1": Status(status=404, route="/v1/disconnect"),
    "SFU-1": Status(status=204, route="/v1/noop"),
    "SFU-2": instead(lambda asked: asked.path == "/v1/stats", json_answer([{"uuid": "7c0e"}])),
    "SFU-3": NoUuid(route="/v1/channel"),
    "SFU-4": Delay(ms=100, route="/v1/channel"),
    "SFU-5": instead(lambda asked: asked.headers.get("Authorization", "").startswith("jwt"), Answered(401)),
    "SFU-6": instead(with_query, Answered(400)),
    "SFU-7": changing(with_new_uuid),
    "SFU-8": changing(with_constant_uuid),
    "SFU-9": turning(401, Answered(403)),
    "SFU-10": turning(403, channel()),
    "SFU-11": turning(500, channel()),
    "SFU-12": turning(500, channel()),
    "SFU-13": turning(500, channel()),
    "SFU-14": Status(status=404, route="/v1/disconnect"),
    "SFU-15": turning(422, Answered(200)),
    "SFU-16": changing(with_constant_uuid),
}


@pytest.mark.parametrize("clause", list(conformance_sfu.CLAUSES), ids=lambda clause: clause.id)
async def test_an_sfu_that_breaks_a_clause_is_found_out(
    clause: Clause[PlayedOdoo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance_sfu, "CREATION_SECONDS", 0.05)
    async with broken_sfu(BROKEN_SFUS[clause.id]) as url:
        outcome = await decide(clause, playing_odoo(url, KEY))
    assert not outcome.passed
    assert outcome.detail


@pytest.mark.parametrize(
    "fault", [Garbage(), Hang(), Redirect(), Refuse(), Status()], ids=lambda fault: fault.fault
)
async def test_an_sfu_that_fails_altogether_keeps_no_clause_about_channels(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance_clause, "TIMEOUT_SECONDS", 0.1)
    about_channels = {"SFU-2", "SFU-3", "SFU-7", "SFU-8", "SFU-14"}
    async with broken_sfu(fault) as url:
        outcomes = await all_of(hold_sfu(url, KEY))
    assert about_channels <= {outcome.id for outcome in outcomes if not outcome.passed}


@contextlib.asynccontextmanager
async def broken_sfu(damage: Sabotage | Fault) -> AsyncIterator[str]:
    async with running_sfu(SfuConfig(key=KEY, people=NO_PEOPLE)) as (sfu, _):
        if isinstance(damage, Fault):
            await sfu.set_fault(damage)
            yield sfu.address
            return
        async with middleman(sfu.address, damage) as url:
            yield url


async def decide(clause: Clause[Any], playing: AbstractAsyncContextManager[Any]) -> Outcome:
    async with playing as peer:
        return await clause.decide(peer)


# What is shown.


async def outcomes(*passed: bool) -> AsyncIterator[Outcome]:
    for number, is_kept in enumerate(passed, 1):
        yield Outcome(f"T-{number}", "It is so.", passed=is_kept, detail="" if is_kept else "it is not")


async def test_a_report_has_a_row_per_clause_and_says_what_was_wrong() -> None:
    lines: list[str] = []
    assert not await report([outcomes(True, False)], lines.append, as_json=False)
    assert lines == [
        "pass  T-1      It is so.",
        "FAIL  T-2      It is so.\n               -> it is not",
        "\n1 of 2 clauses kept",
    ]


async def test_a_report_is_json_when_that_is_wanted() -> None:
    lines: list[str] = []
    assert await report([outcomes(True), outcomes(True)], lines.append, as_json=True)
    [document] = lines
    expected = {"id": "T-1", "clause": "It is so.", "passed": True, "detail": ""}
    assert json.loads(document) == [expected, expected]


def test_the_command_decides_both_sides_and_its_status_says_whether_all_is_kept(
    gateway_url: str, tmp_path: Path
) -> None:
    fleet = ModuleProcess(
        "workers.simulator",
        *["--sfus", "1", "--show-keys", "--proxy"],
        log=tmp_path / "fleet.log",
        cwd=Path(__file__).parents[3],
        ready=prints(r"\}\n$"),
    )
    with fleet:
        sfu = json.loads(fleet.output)
        both = ["--gateway", gateway_url, "--sfu", sfu["address"], "--json"]
        keys = {"SFU_GATEWAY_REGISTRATION__KEY": REGISTRATION_KEY.to_base64(), "AUTH_KEY": sfu["key"]}
        kept = run(*both, env=keys)
        broken = run(*both, env=keys | {"AUTH_KEY": KEY.to_base64()})
    clauses = [*conformance_gateway.CLAUSES, *conformance_sfu.CLAUSES]
    assert [outcome["id"] for outcome in json.loads(kept.output)] == [clause.id for clause in clauses]
    assert violated([Outcome(**outcome) for outcome in json.loads(kept.output)]) == []
    assert (kept.exit_code, broken.exit_code) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --gateway URL"),
        (["--gateway", NOBODY_LISTENS], "--registration-key: "),
        (["--sfu", NOBODY_LISTENS, "--key", "s*cret"], "--key: "),
    ],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str], message: str) -> None:
    result = run(*arguments, env={"SFU_GATEWAY_REGISTRATION__KEY": "", "AUTH_KEY": ""})
    assert result.exit_code == 2
    assert message in result.output
    assert "s*cret" not in result.output


def run(*arguments: str, env: dict[str, str]) -> Any:
    return CliRunner().invoke(cli, ["conformance", *arguments], env=env)
