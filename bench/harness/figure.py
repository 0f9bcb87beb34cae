"""A column of a table as a matplotlib figure; pages have SVG of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.api.errors import PrerequisiteError, UsageError, unknown
from bench.report import words
from bench.report.model import TableData
from bench.report.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES_WIDE, _INCHES_A_ROW, _MARGIN = 5.0, 0.28, 0.9


def forest_figure(data: TableData, statistics: Statistics, column: str) -> Figure:
    """Return one point and 95 % interval a row, the baseline as a broken line.

    Args:
        data, statistics: of the table.
        column: its key.

    Raises:
        PrerequisiteError: matplotlib is not installed.
        UsageError: there is no such column, or none of its rows was measured.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PrerequisiteError(
            "a figure needs matplotlib, which is not installed",
            fix="pip install 'align-bench[plots]'",
        ) from error
    keys = [str(one["key"]) for one in data.columns]
    if column not in keys:
        raise unknown("column", column, keys)
    found = [(str(row["label"]), statistics.value(row["key"], column)) for row in data.rows]
    measured = [(label, one.row, one.estimate) for label, one in found if one.estimate is not None]
    if not measured:
        raise UsageError(f"no row of column {column} was measured.")
    figure = Figure(figsize=(_INCHES_WIDE, _MARGIN + _INCHES_A_ROW * len(measured)))
    figure.set_layout_engine("constrained")
    axes: Any = figure.subplots()
    for place, (_, row, estimate) in enumerate(measured):
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place, place], color="0.45", linewidth=1.2)
        axes.plot([estimate.value], [place], marker="o", color="black", markersize=4)
        if row == statistics.baseline:
            axes.axvline(estimate.value, color="0.7", linestyle="--", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(measured)), [label for label, _, _ in measured])
    axes.invert_yaxis()
    name = next(one for one in data.columns if one["key"] == column)
    axes.set_xlabel(f"{words.column_name(data, column)} {words.arrow(name)}")
    return figure
