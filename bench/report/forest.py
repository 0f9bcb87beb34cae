"""Forest plots of a table's columns as SVG: one point and interval a row, nothing but text out.

Colours are left to the page (`currentColor` and classes), so that a plot fits a dark page too.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.report import words
from bench.report.model import Summary, TableData
from bench.report.statistics import Statistics

WIDTH = 460
_LABEL, _RIGHT, _TOP, _LINE, _FOOT = 168, 14, 26, 20, 24
_LETTERS = 26
"""Characters of a row's label that fit beside the plot."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear axis from `low` to `high`; across a forest plot's width where nothing else is said.

    Attributes:
        low, high: its ends.
        start: place of `low`, in pixels.
        length: from there to `high`; negative upwards.
    """

    low: float
    high: float
    start: float = _LABEL
    length: float = WIDTH - _RIGHT - _LABEL

    def x(self, value: float) -> float:
        """Return the place of a value, in pixels."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * self.length, 1)

    def ticks(self) -> list[float]:
        """Return three to six round values within the axis."""
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span / 2))
        while span / step > 6:
            step *= 2 if round(step / 10 ** math.floor(math.log10(step))) != 2 else 2.5
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def forest_plot(data: TableData, statistics: Statistics, column: Mapping[str, Any]) -> str:
    """Return the plot of a column, or nothing where no row of it was measured.

    A thin line is the interval, a thick one what prompts and image noise alone would give; the
    broken line marks the baseline. Rendered rows (ceilings) that lie beyond the others are written
    at the edge, so that they do not squeeze what is compared. Published values are drawn (as
    rhombs) where they are of the same work, that is outside orientation tables.
    """
    found = [(row, statistics.value(row["key"], column["key"])) for row in data.shown]
    measured = [(row, s) for row, s in found if s.estimate is not None]
    if not measured:
        return ""
    published = {} if data.orientation else _published(data, column["key"])
    sampled = [s for row, s in measured if row.get("render") is None]
    axis = _axis(sampled or [s for _, s in measured], list(published.values()))
    height = _TOP + _LINE * len(measured) + _FOOT
    title = f"{words.column_name(data, column['key'])} {words.arrow(column)}"
    parts = [
        f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(title)}">',
        f'<text class="title" x="0" y="14">{html.escape(title)}</text>',
        *_scale(axis, int(column["decimals"]), height),
    ]
    base = next((s for _, s in measured if s.row == statistics.baseline), None)
    if base is not None and base.estimate is not None:
        x = axis.x(base.estimate.value)
        parts.append(f'<path class="base" d="M{x} {_TOP - 6}V{height - _FOOT}"/>')
    for place, (row, summary) in enumerate(measured):
        y = _TOP + _LINE * place + _LINE / 2
        parts += _mark(axis, row, summary, y, published.get(row["key"]), int(column["decimals"]))
    return "\n".join([*parts, "</svg>"])


def _published(data: TableData, column: str) -> dict[str, float]:
    return {
        row: float(cells[column]["value"])
        for row, cells in data.published.items()
        if column in cells
    }


def _axis(summaries: list[Summary], others: list[float]) -> Axis:
    values = list(others)
    for summary in summaries:
        found = summary.estimate
        if found is not None:
            values += [v for v in (found.value, found.low, found.high) if v is not None]
    low, high = min(values), max(values)
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return Axis(low=low - margin, high=high + margin)


def _scale(axis: Axis, decimals: int, height: int) -> Iterator[str]:
    bottom = height - _FOOT
    digits = min(decimals, 3)
    for tick in axis.ticks():
        x = axis.x(tick)
        yield f'<path class="grid" d="M{x} {_TOP - 6}V{bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 15}">{words.number(tick, digits)}</text>'


def _mark(
    axis: Axis, row: Mapping[str, Any], summary: Summary, y: float, published: float | None,
    decimals: int,
) -> Iterator[str]:  # fmt: skip
    label = str(row["label"])
    short = label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"
    kind = "control" if row["control"] else "row"
    found = summary.estimate
    assert found is not None  # the caller has left out the others
    says = f"{label}: {words.estimate_text(found, decimals)}"
    given = found.parts.prompts
    yield f'<g class="{kind}"><title>{html.escape(says)}</title>'
    yield f'<text class="label" x="0" y="{y + 4}">{html.escape(short)}</text>'
    if not axis.low <= found.value <= axis.high:
        value = words.number(found.value, decimals)
        left = found.value < axis.low
        place = f'x="{_LABEL}" y="{y + 4}"' if left else f'x="{WIDTH - _RIGHT}" y="{y + 4}"'
        side, text = ("low", f"← {value}") if left else ("high", f"{value} →")
        yield f'<text class="beyond {side}" {place}>{text}</text></g>'
        return
    intervals = [("whole", found.low, found.high)]
    if given is not None:
        intervals.append(("given", given.low, given.high))
    for kind, low, high in intervals:
        if low is not None and high is not None:
            ends = axis.x(max(low, axis.low)), axis.x(min(high, axis.high))
            yield f'<path class="{kind}" d="M{ends[0]} {y}H{ends[1]}"/>'
    if published is not None:
        yield f'<path class="published" d="M{axis.x(published)} {y - 5}l5 5l-5 5l-5-5z"/>'
    yield f'<circle cx="{axis.x(found.value)}" cy="{y}" r="3.4"/></g>'
