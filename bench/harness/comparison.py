"""Two tables side by side: which numbers moved by more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import unknown
from bench.compare.pairing import DIFFERS as DIFFERS
from bench.compare.pairing import Moved as Moved
from bench.compare.verdict import RunVerdict, compare_tables, run_verdict
from bench.harness.records import frame
from bench.harness.result import TableResult
from bench.report import processors
from bench.report.model import TableData
from bench.report.stored import read_report

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` returns.

    Attributes:
        moved: one per row and column that either table has.
        first, second: what was compared of each table.
        known: the second table with all rows and columns of both.
    """

    moved: tuple[Moved, ...]
    first: TableData
    second: TableData
    known: TableData

    @property
    def worse(self) -> tuple[Moved, ...]:
        """What is worse by more than noise."""
        return tuple(moved for moved in self.moved if moved.is_worse)

    def notes(self) -> list[str]:
        """Return what else differs: the processors that numbers were made on."""
        return processors.lines([*self.first.cells, *self.second.cells])

    def verdict(self, *, fail_if_worse: bool = False) -> RunVerdict:
        """Return what both say of the second, as an exit code and its reason."""
        return run_verdict(self.moved, fail_if_worse=fail_if_worse)

    def to_pandas(self) -> pandas.DataFrame:
        """Return one line per row and column (PrerequisiteError: pandas is not installed)."""
        return frame([_line(moved) for moved in self.moved])


def compare(
    first: TableResult | Path | str,
    second: TableResult | Path | str,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    against: str | None = None,
) -> Comparison:
    """Compare two tables, before and after: second less first, with its error term.

    Args:
        first, second: what `run` returned, or a folder that holds a table.
        rows, columns: these alone.
        against: compare every row of `second` with this row of `first`.

    Raises:
        UsageError: there is no table, no such row or column, or they share none.
        CorruptArtifactError: a table is damaged.
    """
    one = _data(first)
    other = one if first == second else _data(second)
    known = replace(other, rows=_union(one.rows, other.rows))
    known = replace(known, columns=_union(one.columns, other.columns))
    _require_known(known, rows, columns)
    # against a row of the first all its other rows are of no concern, and that one is
    ours = _chosen(one if against else _chosen(one, rows, None), None, columns)
    theirs = _chosen(other, rows, columns)
    return Comparison(
        moved=compare_tables(ours, theirs, against=against),
        first=ours,
        second=theirs,
        known=known,
    )


def _data(table: TableResult | Path | str) -> TableData:
    if isinstance(table, TableResult):
        return table.report.data
    return read_report(Path(table)).data


def _line(moved: Moved) -> dict[str, Any]:
    estimate = None if moved.difference is None else moved.difference.estimate
    return {
        "row": moved.row,
        "column": moved.column,
        "first": moved.first,
        "second": moved.second,
        "difference": None if estimate is None else estimate.value,
        "word": moved.word,
        "p": moved.p,
        "corrected_p": moved.corrected_p,
        "reason": moved.reason,
    }


def _union(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], ...]:
    known = {str(one["key"]) for one in ours}
    return (*ours, *(one for one in theirs if str(one["key"]) not in known))


def _require_known(
    data: TableData, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> None:
    """Raise UsageError where neither table has such a row or column."""
    for what, wanted, there in (("row", rows, data.rows), ("column", columns, data.columns)):
        known = [str(one["key"]) for one in there]
        for name in wanted or ():
            if name not in known:
                raise unknown(what, name, known)


def _chosen(
    data: TableData, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> TableData:
    """Return the table with the rows and columns asked for, those it has."""
    if rows is None and columns is None:
        return data
    return replace(
        data,
        rows=tuple(r for r in data.rows if rows is None or r["key"] in rows),
        columns=tuple(c for c in data.columns if columns is None or c["key"] in columns),
    )
