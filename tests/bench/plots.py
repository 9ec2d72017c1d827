"""Plots for the documentation: PNG, light background, axes with units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from matplotlib.axes import Axes  # type: ignore[import-not-found,unused-ignore]
from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

from tests.bench.write_up import IMAGES

Curves: TypeAlias = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Label to x and y."""

_SIZE_INCHES: Final = (8.5, 4.5)
_DPI: Final = 120


@dataclass(frozen=True, slots=True)
class Labels:
    """What is written on a plot."""

    title: str
    y: str
    x: str = ""


def draw_lines(
    name: str, labels: Labels, curves: Curves, *, is_log_x: bool = False, marker: str = ""
) -> None:
    """Write `docs/img/<name>.png`: one line per curve, from 0 up."""
    figure, axes = _empty()
    for label, (x, y) in curves.items():
        axes.plot(x, y, label=label, marker=marker)
    if is_log_x:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    _write(name, labels, figure, axes)


def draw_groups(
    name: str, labels: Labels, groups: Sequence[str], bars: Mapping[str, Sequence[float]]
) -> None:
    """Write `docs/img/<name>.png`: a group of bars for each of `groups`, on a logarithmic scale."""
    figure, axes = _empty()
    width = 0.85 / len(bars)
    for number, (label, heights) in enumerate(bars.items()):
        places = [group + width * (number - len(bars) / 2 + 0.5) for group in range(len(groups))]
        axes.bar(places, heights, width, label=label)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_yscale("log")
    _write(name, labels, figure, axes)


def _empty() -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    return figure, figure.subplots()


def _write(name: str, labels: Labels, figure: Figure, axes: Axes) -> None:
    axes.set_title(labels.title)
    axes.set_xlabel(labels.x)
    axes.set_ylabel(labels.y)
    axes.grid(visible=True, alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / f"{name}.png")
