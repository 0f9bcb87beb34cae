"""Lines of a table of curves as SVG: a metric over the guidance scale, one metric over another.

Colours are left to the page (classes `c0` to `c7`), so that a plot fits a dark page too; which row
a line is, the page's key says, and each point where it is pointed at.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import words
from bench.report.controls import label_of
from bench.report.forest import Axis
from bench.report.model import TableData
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate

WIDTH, HEIGHT = 460, 300
COLOURS = 8
_LEFT, _RIGHT, _TOP, _FOOT = 46, 12, 30, 36


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One value of a line: where it is, the ends of its interval, and what it says on a page."""

    x: float
    y: float
    low: float | None
    high: float | None
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A row's points in the order of the scales, and its place in the page's key."""

    number: int
    points: tuple[Point, ...]


def curve_plots(data: TableData, statistics: Statistics) -> Iterator[str]:
    """Yield a plot of each column over the scale, then of the first column over FID, if any."""
    found = {(p.row, p.column, p.scale): p.estimate for p in statistics.points}
    if not found:
        return
    columns = {column["key"]: column for column in data.columns}
    for key, column in columns.items():
        name = f"{words.column_name(data, key)} {words.arrow(column)}"
        lines = list(_lines(data, found, key))
        yield _plot(f"{name} over the guidance scale", "CFG", lines, int(column["decimals"]))
    first = next(iter(columns))
    if "FID" in columns and first != "FID":
        title = f"{words.column_name(data, first)} over FID: up and to the left is better"
        lines = list(_lines(data, found, first, over="FID"))
        yield _plot(title, "FID", lines, words.decimals_of(data, first))


def curve_key(data: TableData, statistics: Statistics) -> str:
    """Return the page's key to the lines as HTML, or nothing."""
    if not statistics.points:
        return ""
    items = "".join(
        f'<li class="c{number % COLOURS}">{html.escape(label_of(row))}</li>'
        for number, row in _rows(data, statistics)
    )
    return f'<ul class="key">{items}</ul>'


def _rows(data: TableData, statistics: Statistics) -> Iterator[tuple[int, Mapping[str, Any]]]:
    drawn = {point.row for point in statistics.points}
    yield from ((n, row) for n, row in enumerate(data.shown) if row["key"] in drawn)


Found = Mapping[tuple[str, str, float], CrossedEstimate | None]


def _lines(
    data: TableData, found: Found, column: str, *, over: str | None = None
) -> Iterator[Line]:
    """Yield each row's line of a column, over the guidance scale or over another column."""
    for number, row in enumerate(data.shown):
        points = []
        for scale in data.curve:
            y = found.get((row["key"], column, scale))
            x = None if over is None else found.get((row["key"], over, scale))
            if y is None or (over is not None and x is None):
                continue
            says = [_value(data, column, y)]
            if over is not None and x is not None:
                says = [f"{column} {says[0]}", f"{over} {_value(data, over, x)}"]
            points.append(
                Point(
                    x=scale if x is None else x.value,
                    y=y.value,
                    low=y.low if x is None else None,
                    high=y.high if x is None else None,
                    says=f"{label_of(row)}, CFG {scale:g}: {', '.join(says)}",
                )
            )
        if points:
            yield Line(number=number, points=tuple(points))


def _value(data: TableData, column: str, value: CrossedEstimate) -> str:
    return words.estimate_text(value, words.decimals_of(data, column))


def _plot(title: str, x_name: str, lines: Sequence[Line], decimals: int) -> str:
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    ends = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    across = _axis([p.x for p in points], start=_LEFT, length=WIDTH - _LEFT - _RIGHT)
    up = _axis(ends, start=HEIGHT - _FOOT, length=-(HEIGHT - _FOOT - _TOP))
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">',
        f'<text class="title" x="0" y="14">{html.escape(title)}</text>',
        *_frame(across, up, x_name, min(decimals, 2)),
        *(part for line in lines for part in _drawn(line, across, up)),
    ]
    return "\n".join([*parts, "</svg>"])


def _axis(values: Sequence[float], *, start: float, length: float) -> Axis:
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low=low - margin, high=high + margin, start=start, length=length)


def _frame(across: Axis, up: Axis, name: str, y_decimals: int) -> Iterator[str]:
    bottom, right = HEIGHT - _FOOT, WIDTH - _RIGHT
    for tick in up.ticks():
        y = up.x(tick)
        yield f'<path class="grid" d="M{_LEFT} {y}H{right}"/>'
        told = words.number(tick, y_decimals)
        yield f'<text class="tick side" x="{_LEFT - 6}" y="{y + 3.5}">{told}</text>'
    for tick in across.ticks():
        x = across.x(tick)
        yield f'<path class="grid" d="M{x} {_TOP}V{bottom}"/>'
        told = words.number(tick, 1)
        yield f'<text class="tick" x="{x}" y="{bottom + 14}">{told}</text>'
    yield f'<text class="tick" x="{(_LEFT + right) / 2}" y="{HEIGHT - 6}">{name}</text>'


def _drawn(line: Line, across: Axis, up: Axis) -> Iterator[str]:
    places = [(across.x(p.x), up.x(p.y)) for p in line.points]
    path = "M" + "L".join(f"{x} {y}" for x, y in places)
    yield f'<g class="c{line.number % COLOURS}"><path class="line" d="{path}"/>'
    for point, (x, y) in zip(line.points, places, strict=True):
        if point.low is not None and point.high is not None:
            yield f'<path class="whole" d="M{x} {up.x(point.low)}V{up.x(point.high)}"/>'
        yield f'<circle cx="{x}" cy="{y}" r="3"><title>{html.escape(point.says)}</title></circle>'
    yield "</g>"
