"""What the published table of the same protocol found of controls that were not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.report.model import TableData
from bench.report.sealed import open_table
from bench.report.words import column_protocol, protocol_id

PUBLISHED = Path("results")
"""Where published tables lie in a checkout; elsewhere there are none."""
_SAME = ("name", "checkpoint", "noise", "overrides")
"""What of a profile says how its rows were trained, as far as a table knows it."""


def with_published(
    data: TableData, rows: Sequence[Mapping[str, Any]], folder: Path = PUBLISHED
) -> tuple[dict[str, Any], ...]:
    """Return control rows that were not run, with what the published table found of each.

    Args:
        data: a table, with its cells.
        rows: controls of it that were not asked for.
        folder: where published tables lie. One counts that has the same profile and base,
            changed in nothing else by `--set`, in the columns that it measured under the same
            protocol.
    """
    found = _published(data, folder) if rows else {}
    return tuple(
        {**row, "found": told} if (told := found.get(row["key"])) else dict(row) for row in rows
    )


def _published(data: TableData, folder: Path) -> dict[str, dict[str, str]]:
    """Return the outcomes of a published table's controls by row, then column."""
    from bench.report.stored import read_table

    place = folder / f"table-{data.table}"
    if not place.is_dir():
        return {}
    try:
        stored = read_table(open_table(place))
    except BenchError:
        return {}  # who reads that table is told what is wrong with it
    other = stored.data
    if any(other.profile.get(k) != data.profile.get(k) for k in _SAME):
        return {}
    found: dict[str, dict[str, str]] = {}
    for result in stored.statistics.controls:
        if _protocol(data, result.column) == _protocol(other, result.column) is not None:
            found.setdefault(result.row, {})[result.column] = result.word
    return found


def _protocol(data: TableData, column: str) -> str | None:
    protocol = column_protocol(data, column)
    return None if protocol is None else protocol_id(protocol)
