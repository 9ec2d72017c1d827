"""What the benchmarks calculate, and could get wrong without anybody noticing."""

import asyncio
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import RegistryUnavailable
from app.telemetry.metrics import Metrics
from app.upstream.addresses import sfu_address
from tests.bench.cpu_profile import LOOP, group_of, phases_of, shares_of
from tests.bench.fallback_cost import Placing, Reading, measure_placing, placing_table, reading_table
from tests.bench.http_load import Call, Driven, read_driven
from tests.bench.latency import Latencies, latency_ms, percentile
from tests.bench.open_loop import (
    LANES,
    SETTLE_S,
    Generator,
    Outcome,
    precise_loop,
    request_bytes,
    schedule_of,
)
from tests.bench.performance_targets import Target
from tests.bench.registry_watch import failures_in
from tests.bench.revisions import BUSY, NOTHING, Comparison, Cost, Name, worktree
from tests.bench.rig import haproxy_config
from tests.bench.sfu_stand_in import SfuProtocol, address_of
from tests.bench.throughput import Rate, mean_of
from tests.bench.watching import Memory, memory_in
from tests.support.ports import HOST

RUN = "run (uvicorn/server.py:75);run (/lib/asyncio/runners.py:118)"


class TestPercentiles:
    @pytest.mark.parametrize(
        ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (0.01, 1), (0.0, 1), (1.0, 100)]
    )
    def test_it_is_the_nearest_rank(self, share: float, expected: float) -> None:
        assert percentile([float(number) for number in range(100, 0, -1)], share) == expected

    def test_a_share_that_floats_cannot_say_takes_no_rank_too_many(self) -> None:
        assert percentile([float(number) for number in range(1, 1001)], 0.999) == 999

    def test_nothing_has_no_percentile(self) -> None:
        with pytest.raises(ValueError, match="no values"):
            percentile([], 0.5)

    def test_a_failed_request_took_for_ever(self) -> None:
        outcome = Outcome(latencies_ms=[1.0] * 98, failed=2)
        assert latency_ms(outcome, 0.98) == 1.0
        assert latency_ms(outcome, 0.99) == math.inf

    def test_what_the_gateway_adds_is_a_difference(self) -> None:
        latencies = Latencies(100, 50, {"sfu": Outcome([2.0, 3.0]), "new": Outcome([5.0, 9.0])})
        assert latencies.added_ms(1.0) == 6.0


class TestSchedule:
    def test_the_rate_is_kept_on_average(self) -> None:
        assert len(schedule_of(1_000, 20)) == pytest.approx(20_000, rel=0.03)

    def test_it_is_in_order_within_its_time_and_not_even(self) -> None:
        times = schedule_of(500, 4)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        mean = sum(gaps) / len(gaps)
        deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
        assert min(gaps) > 0
        assert times[-1] < 4
        assert deviation == pytest.approx(mean, rel=0.1), "gaps of a Poisson process deviate by their mean"

    def test_it_is_decided_beforehand(self) -> None:
        assert schedule_of(100, 2) == schedule_of(100, 2)
        assert schedule_of(100, 2, seed=2) != schedule_of(100, 2)


def _generated(
    schedule: list[float],
    *,
    delay_s: float = 0.0,
    numbers: Iterator[int] | None = None,
    is_new_each: bool = False,
) -> Outcome:
    """Ask a stand-in that shares the generator's loop, so that what holds up one holds up both."""

    async def run() -> Outcome:
        uuids = numbers or itertools.count()
        server = await asyncio.get_running_loop().create_server(
            lambda: SfuProtocol(uuids, delay_s), HOST, 0, backlog=LANES
        )
        async with server:
            request = request_bytes(Call("GET", "/v1/channel"), "sfu")
            address = server.sockets[0].getsockname()
            return await Generator(address, [request], schedule, is_new_each=is_new_each).run()

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(run())


def _stalling(at: int, seconds: float) -> Iterator[int]:
    """Count, and let nothing go on for a while at one of the numbers."""
    for number in itertools.count():
        if number == at:
            time.sleep(seconds)
        yield number


class TestOpenLoop:
    def test_the_first_second_is_not_counted(self) -> None:
        outcome = _generated([0.0, 0.1, SETTLE_S, SETTLE_S + 0.01])
        assert len(outcome.latencies_ms) == len(outcome.late_ms) == 2
        assert outcome.failed == 0

    def test_a_latency_has_the_answer_time_in_it(self) -> None:
        outcome = _generated([SETTLE_S], delay_s=0.05)
        assert 50 <= outcome.latencies_ms[0] < 1_000

    def test_a_stall_counts_for_all_who_were_due_meanwhile(self) -> None:
        """The very thing that a client which waits for answers would leave out."""
        due = [SETTLE_S + number / 100 for number in range(50)]
        outcome = _generated(due, numbers=_stalling(10, 0.4))
        assert len(outcome.latencies_ms) == 50
        assert sum(latency > 100 for latency in outcome.latencies_ms) >= 20
        assert max(outcome.late_ms) > 200

    def test_more_requests_than_connections_wait_and_their_wait_counts(self) -> None:
        outcome = _generated([SETTLE_S] * (2 * LANES), delay_s=0.1)
        assert len(outcome.latencies_ms) == 2 * LANES
        assert sum(latency >= 200 for latency in outcome.latencies_ms) >= LANES

    def test_each_request_may_have_a_connection_of_its_own(self) -> None:
        outcome = _generated([SETTLE_S] * (2 * LANES), delay_s=0.1, is_new_each=True)
        assert len(outcome.latencies_ms) == 2 * LANES
        assert outcome.failed == 0

    def test_a_request_is_valid_http(self) -> None:
        sent = request_bytes(Call("POST", "/v1/sfu", "Bearer x", '{"a":1}'), "host:1")
        assert sent == (
            b"POST /v1/sfu HTTP/1.1\r\nHost: host:1\r\nAuthorization: Bearer x\r\nContent-Length: 7\r\n\r\n"
            b'{"a":1}'
        )


class TestLoad:
    def test_wrk_is_read(self) -> None:
        said = "  4001 requests in 2.01s, 0.9MB read\nRequests/sec: 1990.1\n"
        assert read_driven(said) == Driven(4001, 0, 2.01)

    def test_answers_without_success_and_broken_connections_are_failures(self) -> None:
        said = (
            "  40 requests in 500.00ms, 0.9MB read\n"
            "  Socket errors: connect 1, read 2, write 0, timeout 3\n"
            "  Non-2xx or 3xx responses: 7\n"
        )
        assert read_driven(said) == Driven(40, 13, 0.5)

    def test_something_else_is_not_taken_for_an_answer(self) -> None:
        with pytest.raises(AssertionError):
            read_driven("unable to connect")

    def test_rounds_of_equal_length_are_averaged_and_every_failure_counts(self) -> None:
        assert mean_of([Rate(10, 9, 1), Rate(12, 8, 2)]) == Rate(11, 8.5, 3)


class TestRevisions:
    def test_costs_are_compared_by_request(self) -> None:
        costs: dict[tuple[str, Name], Cost] = {
            (BUSY.name, "former"): Cost(100, 0.1),
            (BUSY.name, "new"): Cost(200, 0.1),
            (NOTHING.name, "new"): Cost(1_000, 0.1),
        }
        comparison = Comparison("before", costs)
        assert comparison.ratio(BUSY) == 0.5
        assert comparison.share(BUSY, NOTHING) == pytest.approx(0.2)

    def test_a_former_revision_is_checked_out_beside_this_one_for_a_while(self, tmp_path: Path) -> None:
        with worktree("HEAD", tmp_path) as path:
            assert (path / "app" / "main.py").exists()
        assert not path.exists()


class TestProfile:
    @pytest.mark.parametrize(
        ("frames", "group"),
        [
            ("x (app/channels/service.py:1);dumps (/lib/json/__init__.py:1)", "placing: our own steps"),
            (
                "x (app/registry/registry.py:1);y (/x/redis/asyncio/client.py:2)",
                "Redis: redis-py and our calls",
            ),
            (
                "x (/w/app/auth/tenants.py:1);encode (/x/joserfc/jwt.py:3)",
                "tokens and keys: joserfc, cryptography",
            ),
            ("x (/x/starlette/routing.py:1);send (/x/uvicorn/a.py:1)", "HTTP server: uvicorn, httptools"),
            ("x (asyncio/tasks.py:1)", LOOP),
        ],
    )
    def test_a_stack_belongs_to_its_innermost_frame_of_anybodys(self, frames: str, group: str) -> None:
        assert group_of(f"{RUN};{frames}".split(";")) == group

    def test_the_loop_itself_is_nobodys(self) -> None:
        assert group_of(RUN.split(";")) == LOOP

    def test_shares_add_up(self) -> None:
        shares = shares_of([f"{RUN} 1", f"{RUN};x (app/logs.py:1) 3"])
        assert shares == {"logging: structlog": 0.75, LOOP: 0.25}

    def test_phases_are_read_from_metrics(self) -> None:
        name = "sfu_gateway_phase_duration_seconds"
        lines = [
            f'{name}_bucket{{le="1",phase="select"}} 3.0',
            f'{name}_count{{phase="select"}} 4.0',
            f'{name}_sum{{phase="select"}} 0.2',
        ]
        assert phases_of("\n".join(lines)) == {"select": (0.2, 4.0)}


class TestRegistryWatch:
    def test_a_replica_that_lost_redis_says_so(self) -> None:
        metrics = Metrics()
        metrics.redis_failed(RegistryUnavailable("away"))
        assert failures_in(metrics.exposition(None)[0].decode()) == 1

    def test_silence_is_not_taken_for_health(self) -> None:
        with pytest.raises(AssertionError):
            failures_in("")


class TestTargets:
    def test_at_least_and_at_most(self) -> None:
        assert Target("more", 2.0, 1.0, "x", is_least=True).is_met
        assert not Target("more", 0.5, 1.0, "x", is_least=True).is_met
        assert Target("less", 0.5, 1.0, "x").is_met

    def test_a_miss_says_by_how_much(self) -> None:
        assert Target("more", 0.75, 1.0, "x", is_least=True).missed_by == pytest.approx(0.25)
        assert Target("less", 1.5, 1.0, "x").missed_by == pytest.approx(0.5)
        assert Target("less", 1.0, 1.0, "x").missed_by == 0


class TestRig:
    def test_each_stand_in_has_a_loopback_address_that_may_register(self) -> None:
        addresses = [address_of(number, 12_345) for number in range(10_000)]
        assert len(set(addresses)) == 10_000
        assert all(sfu_address(address) == address for address in addresses)
        assert all(address.startswith("http://127.") for address in addresses)

    def test_haproxy_has_one_thread_and_all_sfus(self) -> None:
        config = haproxy_config(9, ["http://127.1.0.0:1", "http://127.1.0.1:1"])
        assert "nbthread 1" in config
        assert "balance leastconn" in config
        assert [line.split()[-1] for line in config.splitlines() if "server sfu" in line] == [
            "127.1.0.0:1",
            "127.1.0.1:1",
        ]

    def test_memory_is_read_in_bytes(self) -> None:
        status = "Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n"
        assert memory_in(status) == Memory(now=102_400, most=204_800)


class TestFallbackCost:
    def test_a_cost_is_a_ratio_to_the_smallest_fleets(self) -> None:
        text = placing_table({10_000: Placing(30.0, 20.5), 20: Placing(20.0, 21.0)})
        assert text.splitlines()[2:] == [
            "| 20     | 1.00 x | 20 us |             21.0 |",
            "| 10,000 | 1.50 x | 30 us |             20.5 |",
        ]

    def test_a_reading_is_a_share_of_a_core(self) -> None:
        assert "| 1,000 |                 0.25% |          0.50% |" in reading_table(
            [Reading(1_000, 0.0025, 0.005)]
        )

    def test_placements_are_measured_beside_each_other(self) -> None:
        costs = measure_placing((20, 200), rounds=1, calls=50)
        assert set(costs) == {20, 200}
        assert all(cost.usec > 0 and cost.steps > 8 for cost in costs.values())
