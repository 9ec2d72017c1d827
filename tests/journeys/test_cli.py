"""The commands of operators on a real Redis and against a real gateway; some of them as processes of their own.

One deployment serves all tests; each finds two SFUs that have just registered. Tests of events have a deployment of
their own, since a gateway remembers events.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.api.schemas import Explanation
from app.api.schemas import Sfu as SfuDocument
from app.cli.exits import Exit
from app.cli.main import cli
from tests.journeys.deployment import ADMIN_TOKEN, GATEWAY_KEY, Deployment, Replica
from tests.support.engines import RedisServer
from tests.support.forking import ModuleProcess
from tests.support.ports import HOST, free_port
from tests.support.processes import prints
from tests.support.topologies import cluster, sentinel_set
from tests.support.waiting import eventually_sync

ADDRESS = "http://127.0.0.1:9"
OTHER = "http://127.0.0.1:19"
KEY = "a2V5IG9mIG9uZSBTRlUsIG5vdCBvZiBhbnkgb3RoZXI="
ABSENT = "http://127.0.0.1:29"
THRESHOLD_S = "600"
SETTINGS = {
    "SFU_GATEWAY_KEY": GATEWAY_KEY,
    "SFU_GATEWAY_REDIS__TIMEOUT_MS": "5000",  # the machine may be busy; this is no test of it
    "SFU_GATEWAY_HEALTH__UNHEALTHY_THRESHOLD": THRESHOLD_S,
}


class Operator:
    """Someone at a terminal, who asks either Redis or a gateway."""

    def __init__(self, where: Sequence[str]) -> None:
        self.where = list(where)
        self.environment: dict[str, str] = {}
        """For commands that need a process of their own."""

    def run(self, *words: str, says: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `says` is typed into it.

        It runs in this process, because the imports of a new one take most of a second.
        """
        if self.environment:
            return self.run_process(*words, says=says)
        others = dict.fromkeys(name for name in os.environ if name.startswith("SFU_GATEWAY_"))
        done = CliRunner().invoke(
            cli, [*words, *self.where], input=says, env=others | SETTINGS, catch_exceptions=False
        )
        return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)

    def run_process(self, *words: str, says: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end as a process."""
        command = [sys.executable, "-m", "app", *words, *self.where]
        environment = {"PATH": os.environ["PATH"], "TZ": "UTC", **SETTINGS, **self.environment}
        return subprocess.run(
            command, env=environment, input=says, capture_output=True, text=True, timeout=30
        )

    def json(self, *words: str) -> object:
        """Return what a command that succeeds prints as JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == Exit.OK, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def standing(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    """A gateway with a sweeper; SFUs need not report again while commands run."""
    directory = tmp_path_factory.mktemp("deployment")
    with Deployment(server, directory, health__unhealthy_threshold=THRESHOLD_S) as deployment:
        deployment.sweeper()
        yield deployment.replica()


@pytest.fixture
def replica(server: RedisServer, standing: Replica) -> Replica:
    """A gateway that two SFUs have reported to, and nobody else."""
    for address in (ADDRESS, OTHER):
        assert standing.admin("forget", address=address).status_code in (200, 404)
    server.call("DEL", "{sfu}:events")
    return with_two_sfus(standing)


@pytest.fixture
def new_replica(own_server: RedisServer, tmp_path: Path) -> Iterator[Replica]:
    """A gateway that has seen nothing but the registration of two SFUs."""
    with Deployment(own_server, tmp_path, health__unhealthy_threshold=THRESHOLD_S) as deployment:
        deployment.sweeper()
        yield with_two_sfus(deployment.replica())


def with_two_sfus(replica: Replica) -> Replica:
    """Let two SFUs report to a gateway."""
    assert replica.heartbeat(ADDRESS, KEY).is_success
    assert replica.heartbeat(OTHER, KEY, region="us-east", sessions=800).is_success
    eventually_sync(lambda: replica.selectable() == 2)  # health is up to a second old
    return replica


def of_redis(server: RedisServer) -> Operator:
    return Operator(["--redis", server.url])


def of_gateway(replica: Replica) -> Operator:
    return Operator(["--gateway", replica.url, "--admin-token", ADMIN_TOKEN])


@pytest.fixture(params=["redis", "gateway"])
def operator(request: pytest.FixtureRequest, server: RedisServer, replica: Replica) -> Operator:
    """Someone who asks Redis, then someone who asks the gateway."""
    return of_redis(server) if request.param == "redis" else of_gateway(replica)


@pytest.fixture
def readers(own_server: RedisServer, new_replica: Replica) -> list[Operator]:
    """Those who ask for events, without a token: of Redis and of the gateway."""
    return [of_redis(own_server), Operator(["--gateway", new_replica.url])]


def rows(text: str) -> list[list[str]]:
    """The words of each line below the head of a table."""
    return [line.split() for line in text.splitlines()[1:]]


def test_the_fleet_is_listed_as_a_table(operator: Operator) -> None:
    done = operator.run_process("sfu", "list")
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.splitlines()[0].split()[:3] == ["STATE", "LOAD", "SESSIONS"]
    assert [[row[0], *row[-2:]] for row in rows(done.stdout)] == [
        ["selectable", "eu-west", ADDRESS],
        ["selectable", "us-east", OTHER],
    ]


def addresses(listed: object) -> list[str]:
    """The addresses of a list that was printed as JSON."""
    return [sfu["address"] for sfu in listed]  # type: ignore[attr-defined]


def test_the_list_is_filtered_and_sorted(operator: Operator, replica: Replica) -> None:
    assert addresses(operator.json("sfu", "list", "--region", "us-east")) == [OTHER]
    assert addresses(operator.json("sfu", "list", "--sort", "load")) == [OTHER, ADDRESS]
    replica.admin("drain", address=OTHER)
    eventually_sync(lambda: replica.status_of(OTHER) == "draining")
    assert addresses(operator.json("sfu", "list", "--state", "draining,drained")) == [OTHER]
    assert addresses(operator.json("sfu", "list", "--state", "lost,signed-off")) == []
    done = operator.run("sfu", "list", "--region", "nowhere")
    assert (done.returncode, done.stdout) == (Exit.REFUSED, "")
    assert done.stderr == "--region: no SFU is in nowhere; regions with SFUs: eu-west, us-east\n"


def test_both_sources_say_the_same_and_no_key(server: RedisServer, replica: Replica) -> None:
    sources = of_redis(server), of_gateway(replica)
    asked = [operator.run("sfu", "list", "--json") for operator in sources]
    listed = [[SfuDocument(**sfu) for sfu in json.loads(done.stdout)] for done in asked]
    same = [[sfu.model_copy(update={"heartbeatAgeMs": 0}) for sfu in fleet] for fleet in listed]
    assert same[0] == same[1]
    assert all(KEY not in done.stdout for done in asked)
    questions = ("explain", "--region", "us-east", "--issuer", "https://odoo.example:channel:1")
    explained = [Explanation.model_validate(operator.json(*questions)) for operator in sources]
    assert explained[0] == explained[1]


def test_one_sfu_is_shown(operator: Operator) -> None:
    assert operator.json("sfu", "show", ADDRESS)["sessions"] == 45  # type: ignore[index]
    assert operator.run("sfu", "show", ADDRESS).stdout.splitlines()[0].split() == ["address", ADDRESS]


def test_an_unknown_sfu_is_refused_in_one_line(operator: Operator) -> None:
    for command in ("show", "drain", "resume", "reset", "forget"):
        done = operator.run("sfu", command, ABSENT, *(["--yes"] if command != "show" else []))
        assert done.returncode == Exit.REFUSED, (command, done.stderr)
        assert done.stderr.count("\n") == 1
        assert ABSENT in done.stderr


def test_an_sfu_is_named_by_host_and_port_or_by_a_part_of_its_own(operator: Operator) -> None:
    for text in (OTHER, "127.0.0.1:19", ":19"):
        assert operator.json("sfu", "show", text)["address"] == OTHER  # type: ignore[index]
    done = operator.run("sfu", "forget", "127.0.0.1", "--yes")
    assert done.returncode == Exit.USAGE
    assert done.stderr == f"ADDRESS: 127.0.0.1 is part of {OTHER}, {ADDRESS}: give more of it\n" or (
        done.stderr == f"ADDRESS: 127.0.0.1 is part of {ADDRESS}, {OTHER}: give more of it\n"
    )


def test_a_drain_that_waits_ends_when_the_sfu_is_empty(
    operator: Operator, replica: Replica, tmp_path: Path
) -> None:
    assert operator.run("sfu", "drain", ADDRESS, "--deadline", "1h", "--yes").returncode == Exit.OK
    command = ["sfu", "drain", ADDRESS, "--wait", "--yes", *operator.where]
    log = tmp_path / "wait.log"
    with ModuleProcess("app", *command, log=log, ready=prints("45 people in 12 channels left")) as waiting:
        assert replica.heartbeat(ADDRESS, KEY, sessions=1, channels=1).is_success
        eventually_sync(lambda: "1 person in 1 channel left" in waiting.output)
        assert replica.heartbeat(ADDRESS, KEY, sessions=0, channels=0).is_success
        assert waiting.wait(20) == Exit.OK
    assert waiting.output.splitlines()[-1] == f"{ADDRESS} is empty."


def test_an_ejected_sfu_is_reset(operator: Operator, replica: Replica) -> None:
    replica.ask(path="/r/eu-west/v1/channel")  # nothing listens there
    eventually_sync(lambda: replica.status_of(ADDRESS) == "down")
    done = operator.run("sfu", "reset", ADDRESS, "--yes")
    assert done.stdout == f"{ADDRESS} is not ejected any more: its failures are forgotten.\n", done.stderr
    eventually_sync(lambda: replica.status_of(ADDRESS) == "up")


def test_an_sfu_is_drained_resumed_and_forgotten(operator: Operator, replica: Replica) -> None:
    drained = operator.run("sfu", "drain", ADDRESS, "--yes").stdout
    assert drained == f"{ADDRESS} drains.\n45 people in 12 channels left\n"
    eventually_sync(lambda: replica.status_of(ADDRESS) == "draining")  # health is up to a second old
    assert operator.run("sfu", "resume", ADDRESS, "--yes").returncode == Exit.OK
    eventually_sync(lambda: replica.status_of(ADDRESS) == "up")
    assert operator.run("sfu", "forget", ADDRESS, "--yes").returncode == Exit.OK
    eventually_sync(lambda: replica.status_of(ADDRESS) is None)


def test_a_change_asks_back_and_no_answer_is_no(operator: Operator, replica: Replica) -> None:
    for answer in ("n\n", ""):
        done = operator.run("sfu", "drain", ADDRESS, says=answer)
        assert done.returncode == Exit.FAILED
        assert "take no new channels" in done.stdout
        assert replica.status_of(ADDRESS) == "up"
    assert operator.run_process("sfu", "drain", ADDRESS, says="y\n").returncode == Exit.OK
    eventually_sync(lambda: replica.status_of(ADDRESS) == "draining")


def test_a_gateway_refuses_orders_without_its_token(replica: Replica) -> None:
    for token in ([], ["--admin-token", "wrong"]):
        done = Operator(["--gateway", replica.url, *token]).run("sfu", "drain", ADDRESS, "--yes")
        assert (done.returncode, done.stderr.count("\n")) == (Exit.REFUSED, 1)
        assert "answered 401" in done.stderr
        assert replica.url in done.stderr
        assert "--admin-token or SFU_GATEWAY_ADMIN_TOKEN" in done.stderr
    assert replica.status_of(ADDRESS) == "up"


def test_an_explanation_names_the_chosen_and_why_the_others_are_not(operator: Operator) -> None:
    done = operator.run("explain", "--region", "us-east")
    first, answer, *table = done.stdout.splitlines()
    assert first == "Region hint: us-east, by region. Tried in order: us-east, then anywhere."
    assert OTHER in answer
    verdicts = [(row[0], row[2], row[3]) for row in rows("\n".join(table))]
    assert verdicts == [("chosen", OTHER, "us-east"), ("other-region", ADDRESS, "eu-west")]


def test_what_happened_is_told_oldest_first(readers: list[Operator]) -> None:
    for reader in readers:
        lines = reader.run("events").stdout.splitlines()
        assert [line.split()[2:4] for line in lines] == [["up", ADDRESS], ["up", OTHER]], reader.where
        told = reader.run("events", "--json", "--since", "600").stdout.splitlines()
        assert [json.loads(line)["region"] for line in told] == ["eu-west", "us-east"], reader.where


def test_events_are_followed_as_they_happen(
    readers: list[Operator], new_replica: Replica, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        following = [
            stack.enter_context(
                ModuleProcess(
                    "app",
                    *["events", "--follow", "--since", "600", *reader.where],
                    log=tmp_path / f"events{number}.log",
                    ready=prints(OTHER),
                )
            )
            for number, reader in enumerate(readers)
        ]
        new_replica.admin("drain", address=ADDRESS)
        eventually_sync(lambda: all(f"draining        {ADDRESS}" in each.output for each in following))


def test_top_puts_the_most_loaded_first(operator: Operator) -> None:
    where = [word for word in operator.where if word not in ("--admin-token", ADMIN_TOKEN)]
    done = Operator(where).run("top", "--count", "2", "--interval", "0.1")
    assert done.stdout.count("2 of 2 SFUs alive") == 2
    assert done.stdout.index(OTHER) < done.stdout.index(ADDRESS)


_TWO_THOUSAND_EVENTS = """
    for number = 1, 2000 do
        redis.call('XADD', KEYS[1], '*', 'type', 'up', 'address', ARGV[1] .. '/' .. number, 'region', 'eu-west',
            'reason', '', 'generation', 1, 'at', 0)
    end
"""


def test_a_reader_who_has_seen_enough_is_no_error(operator: Operator, server: RedisServer) -> None:
    server.call("EVAL", _TWO_THOUSAND_EVENTS, 1, "{sfu}:events", ADDRESS)  # more than a pipe holds
    where = [word for word in operator.where if word not in ("--admin-token", ADMIN_TOKEN)]
    command = shlex.join([sys.executable, "-m", "app", "events", *where])
    done = subprocess.run(["sh", "-c", f"{command} | head -n 1"], capture_output=True, text=True, timeout=30)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_a_full_disk_is_one_line(operator: Operator) -> None:
    command = shlex.join([sys.executable, "-m", "app", "sfu", "list", *operator.where])
    done = subprocess.run(
        ["sh", "-c", f"{command} > /dev/full"], stderr=subprocess.PIPE, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (1, "the output cannot be written: No space left on device\n")


def test_a_watched_list_is_printed_again(operator: Operator) -> None:
    done = operator.run("sfu", "list", "--watch", "--count", "3", "--interval", "0.1", "--json")
    assert len(done.stdout.splitlines()) == 3


# Somebody who does not answer


@pytest.mark.parametrize("option", ["--redis", "--gateway"])
@pytest.mark.parametrize("words", [["sfu", "list"], ["explain"], ["events"], ["top", "--count", "1"]])
def test_nobody_there_is_one_line_and_an_exit_code(option: str, words: list[str]) -> None:
    scheme = "redis" if option == "--redis" else "http"
    done = Operator([option, f"{scheme}://{HOST}:{free_port()}"]).run_process(*words)
    assert (done.returncode, done.stderr.count("\n")) == (Exit.UNREACHABLE, 1), done.stderr
    assert "does not answer" in done.stderr
    assert done.stdout == ""


# The doctor


def findings(operator: Operator) -> tuple[int, dict[str, dict[str, str]]]:
    """The doctor's exit code, and its findings by name."""
    done = operator.run("doctor", "--json")
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_the_doctor_finds_nothing_wrong_with_a_good_deployment(replica: Replica, server: RedisServer) -> None:
    server.call("CONFIG", "SET", "appendonly", "yes")
    try:
        _, found = findings(of_redis(server))
    finally:
        server.call("CONFIG", "SET", "appendonly", "no")
    latency = found.pop("latency")
    assert latency["severity"] in ("ok", "warning")  # the machine may be busy with other tests
    checks = {
        "version",
        "writes",
        "persistence",
        "eviction",
        "memory",
        "scripts",
        "sweeper",
        "orphans",
        "clock skew",
    }
    assert {name: finding["severity"] for name, finding in found.items()} == dict.fromkeys(checks, "ok")


def test_the_doctor_warns_of_a_redis_that_forgets(replica: Replica, server: RedisServer) -> None:
    code, found = findings(of_redis(server))
    assert code == Exit.DOCTOR_WARNING
    assert found["persistence"]["fix"] == "set appendonly yes"


def test_the_doctor_finds_eviction_orphans_and_a_missing_sweeper(own_server: RedisServer) -> None:
    own_server.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    own_server.call("ZADD", "{sfu}:load", 1, ADDRESS)
    code, found = findings(of_redis(own_server))
    assert code == Exit.DOCTOR_ERROR
    bad = {name: finding for name, finding in found.items() if finding["severity"] == "error"}
    assert bad.keys() == {"eviction", "orphans", "sweeper"}
    assert ADDRESS in bad["orphans"]["found"]
    assert all(finding["fix"] for finding in bad.values())


@pytest.mark.parametrize(
    ("setting", "value", "cause"),
    [("min-replicas-to-write", "1", "(NOREPLICAS)"), ("maxmemory", "1", "(OOM)")],
)
def test_the_doctor_finds_that_writes_are_refused(
    own_server: RedisServer, setting: str, value: str, cause: str
) -> None:
    own_server.call("CONFIG", "SET", setting, value)
    code, found = findings(of_redis(own_server))
    assert code == Exit.DOCTOR_ERROR
    assert found["writes"]["severity"] == "error"
    assert found["writes"]["found"].endswith(cause)
    assert found["writes"]["fix"]


def test_the_doctor_says_when_there_is_no_redis() -> None:
    port = free_port()
    code, found = findings(Operator(["--redis", f"redis://{HOST}:{port}"]))
    assert (code, list(found)) == (Exit.DOCTOR_ERROR, ["redis"])
    assert found["redis"]["found"] == (
        f"{HOST}:{port}, database 0: Redis does not answer: the connection was refused"
    )


def test_the_doctor_goes_on_where_it_may_not_ask(own_server: RedisServer) -> None:
    own_server.call("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-config", "-info")
    code, found = findings(Operator(["--redis", f"redis://limited:secret@{HOST}:{own_server.port}"]))
    assert "this user lacks a right (NOPERM)" in found["version"]["found"]
    assert found["scripts"]["severity"] == "ok"
    assert code == Exit.DOCTOR_ERROR  # no sweeper


def test_the_doctor_examines_a_cluster(tmp_path: Path) -> None:
    with cluster("redis", tmp_path) as topology:
        code, found = findings(Operator(["--redis", topology.url]))
    bad = {name for name, finding in found.items() if finding["severity"] != "ok"}
    assert (code, bad) == (Exit.DOCTOR_ERROR, {"sweeper", "persistence"}), found


def test_the_doctor_examines_the_primary_behind_sentinels(tmp_path: Path) -> None:
    with sentinel_set("redis", tmp_path) as topology:
        code, found = findings(Operator(["--redis", topology.url]))
    bad = {name for name, finding in found.items() if finding["severity"] != "ok"}
    assert (code, bad) == (Exit.DOCTOR_ERROR, {"sweeper", "persistence"}), found
