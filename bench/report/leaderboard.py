"""A table as a leaderboard: rows by their effect against the base, task by task, with verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from bench.report.controls import baseline_of
from bench.report.model import CellData, TableData
from bench.report.paired import paired_cells
from bench.report.pairing import compared_cells, other_noise
from bench.stats import CrossedEstimate


@dataclass(frozen=True, kw_only=True)
class TaskEffect:
    """What a row gains over the base in the images of one task."""

    row: str
    task: str
    effect: CrossedEstimate

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "effect": CrossedEstimate.from_json(data["effect"])})


def ranked_rows(data: TableData) -> list[str]:
    """Return the keys of the rows that a leaderboard ranks: all but the base and controls."""
    base = baseline_of(data)
    return [r["key"] for r in data.shown if not r["control"] and r["key"] != base]


def task_effects(data: TableData) -> Iterator[TaskEffect]:
    """Yield what each ranked row gains in each task of the leaderboard's column.

    Nothing is yielded for rows without per-image values, or for a column of one task.

    Raises:
        ProtocolError: as `paired_cells`.
    """
    base, key = baseline_of(data), data.leaderboard
    if key is None or base is None:
        return
    column = data.column(key)
    tasks = dict.fromkeys(v.tag for cell in data.of(base, key) for v in cell.values)
    for row in ranked_rows(data) if len(tasks) > 1 else ():
        ours, theirs = compared_cells(data, row, base, key)
        if not all(cell.values for cell in (*ours, *theirs)):
            continue
        for task in tasks:
            found = paired_cells(
                row,
                column,
                [_of_task(cell, task) for cell in ours],
                [_of_task(cell, task) for cell in theirs],
                other_noise=other_noise(data, row, base),
            )
            if found.estimate is not None:
                yield TaskEffect(row=row, task=task, effect=found.estimate)


def _of_task(cell: CellData, task: str) -> CellData:
    return replace(cell, values=tuple(v for v in cell.values if v.tag == task))
