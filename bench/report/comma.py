"""A table as CSV: one line per row and column, numbers in full precision."""

from __future__ import annotations

import csv
import io
from typing import Any

from bench.report import words
from bench.report.model import TableData
from bench.report.statistics import Statistics

FIELDS = (
    "table",
    "profile",
    "partial_limit",
    "row",
    "column",
    "state",
    "value",
    "given_low",
    "given_high",
    "given_stderr",
    "given_interval",
    "images",
    "prompts",
    "seeds",
    "seeds_low",
    "seeds_high",
    "by_seed",
    "difference",
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
    for row in data.rows:
        for column in data.columns:
            line = _line(data, statistics, row["key"], column["key"])
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
    if found.given is not None:
        line |= {
            "value": found.given.value,
            "given_low": found.given.low,
            "given_high": found.given.high,
            "given_stderr": found.given.stderr,
            "given_interval": found.given.interval,
            "images": found.given.n,
            "prompts": found.given.clusters,
            "by_seed": ";".join(f"{seed}:{value!r}" for seed, value in found.by_seed.items()),
        }
        protocol = next((c.protocol for c in data.of(row, column) if c.protocol), None)
        line["protocol"] = None if protocol is None else words.protocol_id(protocol)
        line["variant"] = ";".join(words.variant_names(data, column)) or None
    if found.seeds is not None:
        line |= {
            "seeds": found.seeds.n_seeds,
            "seeds_low": found.seeds.low,
            "seeds_high": found.seeds.high,
        }
    if statistics.baseline is not None and row != statistics.baseline:
        difference = statistics.difference(row, column)
        if difference.given is not None:
            line |= {
                "difference": difference.given.value,
                "difference_given_low": difference.given.low,
                "difference_given_high": difference.given.high,
            }
        if difference.seeds is not None:
            line |= {
                "difference_seeds_low": difference.seeds.low,
                "difference_seeds_high": difference.seeds.high,
            }
    published = data.published.get(row, {}).get(column)
    if published is not None:
        line |= {
            "published": published["value"],
            "published_quoted": published["quoted"],
            "published_source": published["source"],
        }
    return line


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else str(value)
