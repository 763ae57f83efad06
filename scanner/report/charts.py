"""The geometry of the report's two charts, from counts to coordinates; the page draws them as SVG.

Everything here is a number or a label made of numbers, so nothing of it needs escaping.
"""

from __future__ import annotations

from dataclasses import dataclass

from scanner.report.schema import Distributions

WIDTH, HEIGHT = 520.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 12.0, 14.0, 34.0


@dataclass(frozen=True)
class Bar:
    """A rectangle with a text that says what it stands for."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One chart: bars, a line, a second line, a vertical mark, and ticks."""

    bars: tuple[Bar, ...]
    line: str
    straight: str
    mark: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str


def score_chart(data: Distributions) -> Chart:
    """Share of clean (line) and scanned (bars) images in every bin of the score, with the threshold."""
    clean, scanned = _shares(data.calibration), _shares(data.scanned)
    highest = max((*clean, *scanned), default=0.0) or 1.0
    low, high = data.edges[0], data.edges[-1]

    def x(score: float) -> float:
        share = (score - low) / (high - low) if high > low else 0.0
        return round(LEFT + (WIDTH - LEFT - RIGHT) * min(max(share, 0.0), 1.0), 1)

    bars, points = [], []
    for position, share in enumerate(scanned):
        left, right = x(data.edges[position]), x(data.edges[position + 1])
        bounds = f"{data.edges[position]:.3g} to {data.edges[position + 1]:.3g}"
        if position == len(scanned) - 1:
            bounds = f"{data.edges[position]:.3g} or more"
        title = f"score {bounds}: {share:.1%} of scanned, {clean[position]:.1%} of clean"
        top = _y(share / highest)
        bars.append(Bar(left, top, round(right - left - 0.6, 1), round(HEIGHT - BOTTOM - top, 1), title))
        points += [f"{left},{_y(clean[position] / highest)}", f"{right},{_y(clean[position] / highest)}"]
    beyond = 0
    if data.threshold is not None:
        beyond = sum(n for n, edge in zip(data.scanned, data.edges[1:], strict=False) if edge > data.threshold)
    shown = "no threshold at this alpha" if data.threshold is None else f"the threshold is {data.threshold:.3g}"
    step = (high - low) / 4
    return Chart(
        bars=tuple(bars),
        line=" ".join(points),
        straight="",
        mark=None if data.threshold is None else x(data.threshold),
        x_ticks=tuple(Tick(x(low + step * i), f"{low + step * i:.3g}" + ("+" if i == 4 else "")) for i in range(5)),
        y_ticks=_percentages(highest),
        summary=f"Distribution of the combined score of {sum(data.calibration)} clean and {sum(data.scanned)} scanned "
        f"images; {shown}, and about {beyond} scanned images lie in the bins above it.",
    )


def p_value_chart(data: Distributions) -> Chart:
    """Share of scanned inputs with at most this p-value, beside the diagonal that clean inputs follow."""
    total = sum(data.p_values)
    running, points = 0, []
    span = WIDTH - LEFT - RIGHT
    points.append(f"{LEFT},{_y(0)}")
    for position, count in enumerate(data.p_values, start=1):
        running += count
        points.append(f"{round(LEFT + span * position / len(data.p_values), 1)},{_y(running / max(total, 1))}")
    first = data.p_values[0] / max(total, 1) if data.p_values else 0.0
    smallest = 1 / max(len(data.p_values), 1)
    return Chart(
        bars=(),
        line=" ".join(points),
        straight=f"{LEFT},{_y(0)} {WIDTH - RIGHT},{_y(1)}",
        mark=None,
        x_ticks=tuple(Tick(round(LEFT + span * i / 4, 1), f"{i / 4:g}") for i in range(5)),
        y_ticks=_percentages(1.0),
        summary=f"Distribution function of the p-values of {total} scanned inputs against the diagonal that clean "
        f"inputs follow: {first:.1%} of the inputs have p of at most {smallest:g}, where {smallest:.1%} are expected.",
    )


def _shares(counts: tuple[int, ...]) -> list[float]:
    total = sum(counts)
    return [count / total if total else 0.0 for count in counts]


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0), 1)


def _percentages(highest: float) -> tuple[Tick, ...]:
    digits = 0 if highest >= 0.1 else 1
    return tuple(Tick(_y(half), f"{highest * half:.{digits}%}") for half in (0, 0.5, 1))
