"""What a report says of a table of curves."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import words
from bench.report.controls import label_of
from bench.report.curves import ENOUGH, OwnBest
from bench.report.model import TableData
from bench.report.scales import protocol_scale
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate

OWN_NOTE = (
    "The scale that is best on one half of the prompts is measured on the other half, and the "
    "other way round: best A/B is best on the first half / on the second. What guidance gives of a "
    "gain is the gain at the protocol's scale less that with both rows at their own best scale."
)


def curve_tables(
    data: TableData, statistics: Statistics
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Yield each column's name, its head and one line a row: the value at each guidance scale."""
    found = {(p.row, p.column, p.scale): p.estimate for p in statistics.points}
    for column in data.columns if found else ():
        key, decimals = column["key"], min(int(column["decimals"]), 3)
        head = ("row", *(f"CFG {scale:g}" for scale in data.curve))
        rows = [
            (row["label"], *(_short(found[row["key"], key, s], decimals) for s in data.curve))
            for row in data.shown
            if all((row["key"], key, s) in found for s in data.curve)
        ]
        yield f"{words.column_name(data, key)} {words.arrow(column)}", head, rows


def own_table(data: TableData, statistics: Statistics) -> Iterator[tuple[str, ...]]:
    """Yield what `OWN_HEAD` says of each column and row."""
    labels = {row["key"]: label_of(row) for row in data.rows}
    for own in statistics.own:
        decimals = words.decimals_of(data, own.column)
        here = protocol_scale(data, own.column)
        yield (
            f"{words.column_name(data, own.column)} (CFG {here:g})",
            labels[own.row],
            "/".join(f"{scale:g}" for scale in own.scales),
            words.estimate_text(own.value, decimals),
            _text(own.moved, decimals),
            _text(own.fixed, decimals),
            _text(own.difference, decimals),
            _text(own.guidance, decimals),
        )


OWN_HEAD = (
    "column, protocol's CFG", "row", "best", "value there", "less itself at the protocol's",
    "over the base at the protocol's", "over the base, both at own best", "guidance gives",
)  # fmt: skip
"""Of `own_table`: the row at its own best scale, what it gains itself by going there, and what it
has over the base. Columns may be sampled at unlike scales.
"""


def few_images(own: tuple[OwnBest, ...]) -> str:
    """Return a sentence where a choice rests on few images, or nothing."""
    least = min((one.images for one in own), default=ENOUGH)
    if least >= ENOUGH:
        return ""
    return (
        f"Here a row has {least} images, fewer than the {ENOUGH:,} from which on such a choice can "
        "be relied on."
    )


def _text(found: CrossedEstimate | None, decimals: int) -> str:
    return "-" if found is None else words.estimate_text(found, decimals, sign=True)


def _short(found: CrossedEstimate | None, decimals: int) -> str:
    if found is None:
        return "-"
    half = words.half_width(found.low, found.high, decimals)
    return f"{words.number(found.value, decimals)} {half}".rstrip()
