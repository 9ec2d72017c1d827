"""What the simulations of `balance` came to: figures, tables and plots."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from tests.bench.plots import Labels, draw_groups, draw_lines
from tests.bench.simulation import Outcome
from tests.bench.traces import FLASH_MS, Scenario
from tests.bench.write_up import table

GATEWAY: Final = "gateway"
GATEWAY_2: Final = "gateway, choices = 2"
RIVALS: Final = ("two choices", "round robin", "random", "stale least-load")
ORACLE: Final = "oracle: committed sessions"
ORACLES: Final = (ORACLE, "oracle: no delay", "oracle: true sessions")
STRATEGIES: Final = (GATEWAY, GATEWAY_2, *RIVALS, *ORACLES)

EXCESS_FACTOR: Final = 1.5
EXCESS_ALLOWANCE: Final = 0.02

FLASH: Final = Scenario("flash crowd, 100 SFUs", 100, flash=20)
NEWCOMER: Final = Scenario("newcomer, 100 SFUs", 100, has_newcomer=True)
_SECOND_MS: Final = 1_000
_FILLED: Final = 0.9

Outcomes: TypeAlias = dict[tuple[Scenario, str], list[Outcome]]


def mean_excess(outcomes: Iterable[Outcome]) -> float:
    """Excess of the most loaded SFU over an even spread, the mean over time; the median of the seeds."""
    return statistics.median(statistics.mean(outcome.imbalance) - 1 for outcome in outcomes)


def worst_excess(outcomes: Iterable[Outcome]) -> float:
    """The same at the worst moment."""
    return statistics.median(max(outcome.imbalance) - 1 for outcome in outcomes)


def excess_table(outcomes: Outcomes, measure: Callable[[Iterable[Outcome]], float]) -> str:
    """Return strategies by scenarios."""
    scenarios = _scenarios(outcomes)
    rows = [
        [strategy, *(f"{measure(outcomes[scenario, strategy]):.2f}" for scenario in scenarios)]
        for strategy in STRATEGIES
    ]
    return table(["excess over 1", *(scenario.name for scenario in scenarios)], rows)


def verdict_table(outcomes: Outcomes) -> str:
    """Return whether the target is met, by scenario."""
    return table(
        ["scenario", "gateway", "limit", "best rival", "met"],
        [_verdict(outcomes, scenario) for scenario in _scenarios(outcomes)],
    )


def _verdict(outcomes: Outcomes, scenario: Scenario) -> list[str]:
    ours = mean_excess(outcomes[scenario, GATEWAY])
    limit = EXCESS_FACTOR * mean_excess(outcomes[scenario, ORACLE]) + EXCESS_ALLOWANCE
    rival, best = min(
        ((name, mean_excess(outcomes[scenario, name])) for name in RIVALS), key=lambda item: item[1]
    )
    is_met = ours <= limit and ours < best
    return [scenario.name, f"{ours:.3f}", f"{limit:.3f}", f"{best:.3f} ({rival})", "yes" if is_met else "no"]


def newcomer_table(outcomes: Outcomes) -> str:
    """Return what befalls an SFU that joins a loaded fleet empty."""
    rows = []
    for strategy in STRATEGIES:
        runs = outcomes[NEWCOMER, strategy]
        rows.append(
            [
                strategy,
                f"{statistics.median(_most_in_a_second(run) for run in runs):.0f}",
                f"{statistics.median(_within_ten_seconds(run) for run in runs):.0f}",
                f"{statistics.median(_seconds_to_fill(run) for run in runs):.0f}",
                f"{statistics.median(max(run.last_sfu) for run in runs):.2f}",
            ]
        )
    header = [
        "strategy",
        "calls in its busiest second",
        "in 10 s",
        "90 % full after (s)",
        "highest load / even",
    ]
    return table(header, rows)


def _since_it_joined(run: Outcome) -> list[int]:
    return [at_ms - run.placed_on_last_ms[0] for at_ms in run.placed_on_last_ms]


def _within_ten_seconds(run: Outcome) -> int:
    return sum(at_ms < 10 * _SECOND_MS for at_ms in _since_it_joined(run))


def _most_in_a_second(run: Outcome) -> int:
    seconds = [at_ms // _SECOND_MS for at_ms in _since_it_joined(run)]
    return max(map(seconds.count, set(seconds)))


def _seconds_to_fill(run: Outcome) -> float:
    filled = (second for second, load in enumerate(run.last_sfu) if load >= _FILLED)
    return next(filled, float("inf"))


def _scenarios(outcomes: Outcomes) -> list[Scenario]:
    return list(dict.fromkeys(scenario for scenario, _ in outcomes))


def draw(outcomes: Outcomes) -> None:
    """Write the plots."""
    scenarios = _scenarios(outcomes)
    bars = {
        strategy: [mean_excess(outcomes[scenario, strategy]) for scenario in scenarios]
        for strategy in STRATEGIES
    }
    names = [scenario.name.replace(", ", "\n") for scenario in scenarios]
    labels = Labels(
        "Imbalance of a fleet: less is better", "most loaded SFU over an even spread, less 1 (mean over time)"
    )
    draw_groups("balance", labels, names, bars)
    labels = Labels(
        f"Flash crowd: 20 times the calls for {FLASH_MS // 1000} s",
        "most loaded SFU over an even spread",
        "time since it began (s)",
    )
    shown = (GATEWAY, "two choices", "round robin", ORACLE, "oracle: true sessions")
    draw_lines("flash-crowd", labels, _curves(outcomes, FLASH, shown, lambda run: run.imbalance))
    labels = Labels(
        "An SFU joins a loaded fleet, empty", "its load over an even spread", "time since it joined (s)"
    )
    shown = (GATEWAY, GATEWAY_2, "two choices", "round robin", "stale least-load")
    draw_lines("newcomer", labels, _curves(outcomes, NEWCOMER, shown, lambda run: run.last_sfu))


def _curves(
    outcomes: Outcomes, scenario: Scenario, shown: Sequence[str], series: Callable[[Outcome], list[float]]
) -> dict[str, tuple[list[float], list[float]]]:
    """By second, the median of the seeds, for the first five minutes."""
    curves = {}
    for strategy in shown:
        by_second = list(zip(*(series(run)[:300] for run in outcomes[scenario, strategy]), strict=True))
        curves[strategy] = (
            [float(second) for second in range(len(by_second))],
            [statistics.median(values) for values in by_second],
        )
    return curves
