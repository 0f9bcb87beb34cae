"""Controls of a table: their tests, and what becomes of the verdicts that rest on them.

A control that must improve concerns its whole column: where the instrument did not see what is
there, no verdict is one. A null concerns the rows of its own method, or, where it was not trained
(A against A), the whole column too. A table says more with `concerns`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from bench.report.model import Summary, TableData
from bench.report.paired import is_trained, paired_rows
from bench.spec.rows import IMPROVES, NULL, TESTED
from bench.stats import CrossedEstimate, Verdict
from bench.stats.controls import Control, ControlResult, Shows, judge_controls

Row = Mapping[str, Any]


def baseline_of(data: TableData) -> str | None:
    """Return the key of the row that differences are taken from: the first base."""
    return next((r["key"] for r in data.shown if r["checkpoint"] and not r["control"]), None)


def control_results(data: TableData) -> tuple[ControlResult, ...]:
    """Return the tests of all controls that were asked for.

    Raises:
        ProtocolError: unlike images, training seeds or noise on both sides.
    """
    columns = {column["key"]: column for column in data.columns}
    controls, effects = [], []
    for row in data.rows:
        for key in row.get("columns", ()) if row["control"] in TESTED else ():
            if key not in columns:
                continue
            base = row.get("base") or baseline_of(data)
            sides = [data.of(name, key) for name in (row["key"], str(base))]
            controls.append(
                Control(
                    row=row["key"],
                    column=key,
                    shows=cast(Shows, row["control"]),
                    higher_is_better=bool(columns[key]["higher_is_better"]),
                    trained=any(is_trained(cells) for cells in sides),
                )
            )
            effects.append(_effect(data, row["key"], str(base), columns[key]))
    return tuple(judge_controls(controls, effects))


def _effect(
    data: TableData, row: str, base: str, column: Mapping[str, Any]
) -> CrossedEstimate | str:
    """Return a row less its base, or why there is no difference to judge."""
    key = column["key"]
    for name in (row, base):
        cells = data.of(name, key)
        lost = next((c for c in cells if c.state != "measured" or c.estimate is None), None)
        if not cells or lost is not None:
            why = "it was not asked for" if lost is None else lost.reason
            return f"{name} has no {key}: {why}"
    found = paired_rows(data, row, base, column)
    return found.estimate or found.reason


def drifts(data: TableData) -> Iterator[Summary]:
    """Yield what nulls lost against their base in any column, where 0 is outside the interval.

    Raises:
        ProtocolError: as `control_results`.
    """
    for row in data.rows:
        if row["control"] != NULL:
            continue
        base = str(row.get("base") or baseline_of(data))
        for column in data.columns:
            found = _effect(data, row["key"], base, column)
            if isinstance(found, str) or found.low is None or found.high is None:
                continue
            lost = found.high < 0.0 if column["higher_is_better"] else found.low > 0.0
            if lost:
                yield Summary(
                    row=row["key"], column=column["key"], state="measured", estimate=found
                )


def concerned_rows(control: Row, rows: Sequence[Row]) -> frozenset[str] | None:
    """Return the keys of the rows whose claims rest on a control; None for all.

    Args:
        control: a row of the table, or one that was not asked for.
        rows: of the table.
    """
    if control.get("concerns"):
        return frozenset(control["concerns"])
    if control["control"] == IMPROVES or control["method"] is None:
        return None
    found = {row["key"] for row in rows if row["method"] == control["method"]}
    while more := {r["key"] for r in rows if r.get("start") in found} - found:
        found |= more  # what starts from a row has learnt what that has
    return frozenset(found)


def rests_on(claim: Mapping[str, Any], control: Row, rows: Sequence[Row]) -> bool:
    """Return whether a claim rests on a control that is tested in the claim's column."""
    concerned = concerned_rows(control, rows)
    return concerned is None or not concerned.isdisjoint((claim["better"], claim["worse"]))


def with_controls(
    data: TableData, verdicts: Sequence[Verdict], results: Sequence[ControlResult]
) -> tuple[Verdict, ...]:
    """Return the verdicts: withheld where a control failed, with what is to be known otherwise."""
    return tuple(
        _with(data, claim, verdict, results)
        for claim, verdict in zip(data.claims, verdicts, strict=True)
    )


def _with(
    data: TableData,
    claim: Mapping[str, Any],
    verdict: Verdict,
    results: Sequence[ControlResult],
) -> Verdict:
    rows = {row["key"]: row for row in data.rows}
    of_column = [r for r in results if r.column == claim["column"]]
    resting = [r for r in of_column if rests_on(claim, rows[r.row], data.rows)]
    notes = [
        f"{label_of(rows[r.row])} is undecided ({r.reason})"
        for r in resting
        if r.word == "undecided"
    ]
    notes += [
        f"{label_of(row)} was not run{_elsewhere(row, claim['column'])}"
        for row in data.unrun
        if claim["column"] in row["columns"] and rests_on(claim, row, data.rows)
    ]
    found = verdict
    if failed := [r for r in resting if r.word == "failed"]:
        found = verdict.withheld(
            "; ".join(f"control {label_of(rows[r.row])} failed: {r.reason}" for r in failed)
        )
    return replace(found, controls=tuple(notes))


def label_of(row: Row) -> str:
    """Return a row's label without the mark of a trained row."""
    return str(row["label"]).removeprefix("+ ")


def _elsewhere(row: Row, column: str) -> str:
    """Return what a published table found of a control, in brackets, or nothing."""
    found = row.get("found", {}).get(column)
    return "" if found is None else f" (published table: {found})"
