"""From cells to what a table says: values, differences and verdicts, all by one error term.

An interval says what would change if the study were done again: with other training seeds, other
prompts and other image noise (`bench.stats.crossed`). What of it each of these adds is kept beside
it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.api.errors import BenchError, ProtocolError
from bench.report.controls import baseline_of, control_results, drifts, with_controls
from bench.report.curves import CurvePoint, OwnBest, curve_points, own_bests
from bench.report.facts import GainRatio, gain_ratios
from bench.report.leaderboard import TaskEffect, task_effects
from bench.report.model import CellData, Summary, TableData
from bench.report.paired import is_trained, paired_rows, row_summary
from bench.report.pairing import cell_title, compared_cells
from bench.report.scales import ScaledClaim, scaled_claims
from bench.spec.table import WHOLE_RUNS
from bench.stats import Claim, CrossedEstimate, Verdict, judge, require_equal_n
from bench.stats.clusters import mean_of_means, stratify
from bench.stats.controls import ControlResult

_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """All that is computed of a table.

    Attributes:
        values: one per row and column.
        baseline: the row differences are taken from, or None.
        differences: row less baseline, one per other row and column that both have.
        verdicts: one per claim, in the table's order.
        ratios: one per fact, in the table's order; None beside a fact that is words alone.
        controls: one per control that is tested and its column, in the table's order.
        drifts: what nulls lost against their base, one per row and column that 0 is outside of.
        scaled: planned claims at three guidance scales, where those were sampled.
        tasks: of a leaderboard, what each row gains in each task.
        points: of a table of curves, each row and column at each guidance scale.
        own: of such a table, each row at its own best scale.
    """

    values: tuple[Summary, ...]
    baseline: str | None
    differences: tuple[Summary, ...]
    verdicts: tuple[Verdict, ...]
    ratios: tuple[GainRatio | None, ...] = ()
    controls: tuple[ControlResult, ...] = ()
    drifts: tuple[Summary, ...] = ()
    scaled: tuple[ScaledClaim, ...] = ()
    tasks: tuple[TaskEffect, ...] = ()
    points: tuple[CurvePoint, ...] = ()
    own: tuple[OwnBest, ...] = ()

    def value(self, row: str, column: str) -> Summary:
        """Return the value of a row and column (KeyError when there is none)."""
        return _find(self.values, row, column)

    def difference(self, row: str, column: str) -> Summary:
        """Return the difference of a row and column (KeyError when there is none)."""
        return _find(self.differences, row, column)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "values": [s.to_json() for s in self.values],
            "baseline": self.baseline,
            "differences": [s.to_json() for s in self.differences],
            "verdicts": [v.to_json() for v in self.verdicts],
            **(
                {"ratios": [None if r is None else r.to_json() for r in self.ratios]}
                if self.ratios
                else {}
            ),
            **({"controls": [c.to_json() for c in self.controls]} if self.controls else {}),
            **({"drifts": [d.to_json() for d in self.drifts]} if self.drifts else {}),
            **({"scaled": [s.to_json() for s in self.scaled]} if self.scaled else {}),
            **({"tasks": [t.to_json() for t in self.tasks]} if self.tasks else {}),
            **({"points": [p.to_json() for p in self.points]} if self.points else {}),
            **({"own": [o.to_json() for o in self.own]} if self.own else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        """Read what `to_json` wrote."""
        return cls(
            values=tuple(Summary.from_json(s) for s in data["values"]),
            baseline=data["baseline"],
            differences=tuple(Summary.from_json(s) for s in data["differences"]),
            verdicts=tuple(Verdict.from_json(v) for v in data["verdicts"]),
            ratios=tuple(None if r is None else GainRatio(**r) for r in data.get("ratios", ())),
            controls=tuple(ControlResult.from_json(c) for c in data.get("controls", ())),
            drifts=tuple(Summary.from_json(d) for d in data.get("drifts", ())),
            scaled=tuple(ScaledClaim.from_json(s) for s in data.get("scaled", ())),
            tasks=tuple(TaskEffect.from_json(t) for t in data.get("tasks", ())),
            points=tuple(CurvePoint.from_json(p) for p in data.get("points", ())),
            own=tuple(OwnBest.from_json(o) for o in data.get("own", ())),
        )


NOT_COMPUTED = Statistics(values=(), baseline=None, differences=(), verdicts=())


def _find(summaries: Sequence[Summary], row: str, column: str) -> Summary:
    for summary in summaries:
        if (summary.row, summary.column) == (row, column):
            return summary
    raise KeyError((row, column))


def compute(data: TableData) -> Statistics:
    """Return all statistics of a table.

    Raises:
        ProtocolError: cells of one column were measured under unlike protocols.
        BenchError: a value is NaN or infinite, or the stored metric is not the mean of the
            stored per-image values.
    """
    for column in data.columns:
        require_like_protocols(data, column["key"])
    values = tuple(
        _value(data, row["key"], column) for row in data.shown for column in data.columns
    )
    baseline = baseline_of(data)
    differences = tuple(
        paired_rows(data, row["key"], baseline, column)
        for row in data.shown
        for column in data.columns
        if baseline is not None and row["key"] != baseline
    )
    controls = control_results(data)
    return Statistics(
        values=values,
        baseline=baseline,
        differences=differences,
        verdicts=with_controls(data, _verdicts(data), controls),
        ratios=gain_ratios(data),
        controls=controls,
        drifts=tuple(drifts(data)),
        scaled=scaled_claims(data),
        tasks=tuple(task_effects(data)),
        points=tuple(curve_points(data)),
        own=tuple(own_bests(data)),
    )


def require_like_protocols(data: TableData, column: str) -> None:
    """Raise ProtocolError where cells of a column were measured in unlike ways.

    Rows that are rendered have no sampling settings to compare; all else must be equal.
    """
    first: tuple[str, Mapping[str, Any]] | None = None
    sampling: tuple[str, Any] | None = None
    cells = [c for c in data.cells if c.column == column and c.state == "measured"]
    for cell in cells:
        rest = {k: v for k, v in cell.protocol.items() if k != "generation"}
        generation = cell.protocol.get("generation")
        if first is None:
            first = (cell.row, rest)
        unlike = [k for k in {*rest, *first[1]} if rest.get(k) != first[1].get(k)]
        if unlike:
            raise _unlike(column, first[0], cell.row, sorted(unlike))
        if generation is not None:
            sampling = sampling or (cell.row, generation)
            if generation != sampling[1]:
                raise _unlike(column, sampling[0], cell.row, ["generation"])
    if cells and data.column(column)["per_image"] is None:
        counts = {cell_title(c): c.estimate.n for c in cells if c.estimate is not None}
        require_equal_n(counts, column)


def _unlike(column: str, a: str, b: str, fields: Sequence[str]) -> ProtocolError:
    return ProtocolError(
        f"column {column}: rows {a} and {b} were measured under unlike protocols "
        f"({', '.join(fields)}). Numbers of unlike protocols are never put in one column; measure "
        "both rows with one command."
    )


def _value(data: TableData, row: str, column: Mapping[str, Any]) -> Summary:
    cells = data.of(row, column["key"])
    for cell in cells:
        if cell.state != "measured":
            break
        if cell.estimate is None or not math.isfinite(cell.estimate.value):
            raise BenchError(
                f"{cell_title(cell)}, {cell.column}: the value is no number; measure it again"
            )
        if cell.values:
            _require_same(cell)
    return row_summary(row, column, cells)


def _require_same(cell: CellData) -> None:
    """Compare the stored metric with the per-image values it should be the mean of."""
    value = mean_of_means(
        stratify(
            [v.value for v in cell.values],
            [v.prompt_id for v in cell.values],
            [v.tag for v in cell.values],
        )
    )
    if cell.estimate is None or abs(value - cell.estimate.value) > _SAME:
        found = cell.estimate.value if cell.estimate else None
        raise BenchError(
            f"{cell_title(cell)}, {cell.column}: the stored metric is {found}, the mean of the "
            f"stored per-image values {value}; one of them was changed. Measure it again."
        )


def _verdicts(data: TableData) -> list[Verdict]:
    claims = [
        Claim(
            better=c["better"],
            worse=c["worse"],
            column=c["column"],
            higher_is_better=bool(data.column(c["column"])["higher_is_better"]),
            circular=bool(c["circular"]),
            planned=bool(c.get("planned", False)),
        )
        for c in data.claims
    ]
    return judge(claims, [_effect(data, claim, data.column(claim.column)) for claim in claims])


def _effect(data: TableData, claim: Claim, column: Mapping[str, Any]) -> CrossedEstimate | str:
    """Return a claim's paired difference, or why there is none to judge."""
    sides = compared_cells(data, claim.better, claim.worse, claim.column)
    for row, cells in zip((claim.better, claim.worse), sides, strict=True):
        if not cells or any(c.state != "measured" or c.estimate is None for c in cells):
            return f"{row} has no {claim.column}"
    if column.get("units") != WHOLE_RUNS and not any(is_trained(cells) for cells in sides):
        return "neither row was trained"
    found = paired_rows(data, claim.better, claim.worse, column)
    return found.estimate or found.reason
