"""A table as CSV: one line per row and column, numbers in full precision."""

from __future__ import annotations

import csv
import io
from typing import Any

from bench.report import words
from bench.report.curves import CurvePoint
from bench.report.model import TableData
from bench.report.scales import protocol_scale
from bench.report.statistics import Statistics
from bench.stats import CrossedEstimate

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a text begins with that a spreadsheet takes for a formula."""

FIELDS = (
    "table",
    "profile",
    "partial_limit",
    "row",
    "column",
    "state",
    "value",
    "low",
    "high",
    "stderr",
    "df",
    "given_low",
    "given_high",
    "seeds_low",
    "seeds_high",
    "images",
    "prompts",
    "seeds",
    "by_seed",
    "difference",
    "difference_low",
    "difference_high",
    "difference_stderr",
    "difference_df",
    "difference_given_low",
    "difference_given_high",
    "difference_seeds_low",
    "difference_seeds_high",
    "published",
    "published_quoted",
    "published_source",
    "protocol",
    "variant",
    "reason",
)


def render_csv(data: TableData, statistics: Statistics) -> str:
    """Return the table as CSV with a head line."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in data.shown:
        for column in data.columns:
            line = _line(data, statistics, row["key"], column["key"])
            writer.writerow({key: _text(value) for key, value in line.items()})
    for point in statistics.points:
        if point.scale != protocol_scale(data, point.column):  # there already
            line = _point(data, point)
            writer.writerow({key: _text(value) for key, value in line.items()})
    return buffer.getvalue()


def _line(data: TableData, statistics: Statistics, row: str, column: str) -> dict[str, Any]:
    found = statistics.value(row, column)
    line: dict[str, Any] = {
        "table": data.table,
        "profile": data.profile["name"],
        "partial_limit": data.limit,
        "row": row,
        "column": column,
        "state": found.state,
        "reason": found.reason,
    }
    if found.estimate is not None:
        trained = any(cell.training_seed is not None for cell in data.of(row, column))
        line |= {
            "value": found.estimate.value,
            **_ends(found.estimate, ""),
            "images": found.images,
            "prompts": found.estimate.n_prompts,
            "seeds": found.estimate.n_seeds if trained else None,
            "by_seed": ";".join(f"{seed}:{value!r}" for seed, value in found.by_seed.items()),
        }
        protocol = next((c.protocol for c in data.of(row, column) if c.protocol), None)
        line["protocol"] = None if protocol is None else words.protocol_id(protocol)
        line["variant"] = ";".join(words.variant_names(data, column)) or None
    if statistics.baseline is not None and row != statistics.baseline:
        difference = statistics.difference(row, column).estimate
        if difference is not None:
            line |= {"difference": difference.value, **_ends(difference, "difference_")}
    published = data.published.get(row, {}).get(column)
    if published is not None:
        line |= {
            "published": published["value"],
            "published_quoted": published["quoted"],
            "published_source": published["source"],
        }
    return line


def _point(data: TableData, point: CurvePoint) -> dict[str, Any]:
    """Return the line of a row at another guidance scale of a table of curves."""
    line: dict[str, Any] = {
        "table": data.table,
        "profile": data.profile["name"],
        "partial_limit": data.limit,
        "row": f"{point.row}@{point.scale:g}",
        "column": point.column,
        "state": "n/a" if point.estimate is None else "measured",
    }
    if point.estimate is not None:
        line |= {
            "value": point.estimate.value,
            **_ends(point.estimate, ""),
            "prompts": point.estimate.n_prompts,
        }
    return line


def _ends(found: CrossedEstimate, prefix: str) -> dict[str, float | None]:
    """Return the interval, its error term, and the intervals of the error term's two parts."""
    ends = {"low": found.low, "high": found.high, "stderr": found.stderr, "df": found.df}
    for name, part in (("given", found.parts.prompts), ("seeds", found.parts.seeds)):
        ends[f"{name}_low"] = None if part is None else part.low
        ends[f"{name}_high"] = None if part is None else part.high
    return {f"{prefix}{name}": value for name, value in ends.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        # a spreadsheet would run it; numbers are no texts here, and stay numbers
        text = value.replace("\r", " ")  # the writer would leave it unquoted
        return f"'{text}" if value.startswith(FORMULA) else text
    return repr(value) if isinstance(value, float) else str(value)
