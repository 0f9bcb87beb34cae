"""Rows over the guidance scale, and each at its own best one: what of a gain guidance gives.

A gain at one scale may only move a row along the curve that its base has too. So a table of curves
shows every row at every scale, and compares the rows once more with each at its own best scale.
The best of several noisy values is better than it would be if it were measured again; therefore
the prompts are halved: the scale that is best on one half is measured on the other, and the other
way round. Every image then counts once, and no prompt in the choice of its own scale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from bench.api.estimate import Estimate
from bench.report.controls import baseline_of
from bench.report.model import CellData, ImageValue, TableData
from bench.report.paired import paired_cells, paired_contrast, row_summary
from bench.report.pairing import common_cells, takes_fewer_seeds
from bench.report.scales import cells_at, is_measured, protocol_scale
from bench.stats import CrossedEstimate
from bench.stats.clusters import mean_of_means, stratify

ENOUGH = 1000
"""Images a row from which on the choice of a scale by half the prompts can be relied on."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A row's value of a column at one scale; None where it was not measured."""

    row: str
    column: str
    scale: float
    estimate: CrossedEstimate | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(**{**data, "estimate": _read(data["estimate"])})


@dataclass(frozen=True, kw_only=True)
class OwnBest:
    """A row at its own best scale.

    Attributes:
        row, column: keys.
        scales: best on the first half of the prompts, and measured on the second; the other way.
        images: over all training seeds.
        value: there.
        moved: the value there less the row's own at the protocol's scale.
        fixed: the row less the base, both at the protocol's scale; None for the base.
        difference: the row less the base, each at its own best scale; None for the base.
        guidance: `fixed` less `difference`: what of the gain guidance gives; None for the base.
    """

    row: str
    column: str
    scales: tuple[float, float]
    images: int
    value: CrossedEstimate
    moved: CrossedEstimate
    fixed: CrossedEstimate | None = None
    difference: CrossedEstimate | None = None
    guidance: CrossedEstimate | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**asdict(self), "scales": list(self.scales)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        names = ("value", "moved", "fixed", "difference", "guidance")
        found = {name: _read(data[name]) for name in names}
        return cls(**{**data, "scales": tuple(data["scales"]), **found})


def _read(data: Mapping[str, Any] | None) -> CrossedEstimate | None:
    return None if data is None else CrossedEstimate.from_json(data)


def curve_points(data: TableData) -> Iterator[CurvePoint]:
    """Yield the value of each row and column at each scale of a table of curves."""
    for column in data.columns if data.curve else ():
        for row in data.shown:
            for scale in data.curve:
                cells = _cells(data, row["key"], column["key"], scale)
                if cells:
                    found = row_summary(row["key"], column, cells).estimate
                    yield CurvePoint(
                        row=row["key"], column=column["key"], scale=scale, estimate=found
                    )


def own_bests(data: TableData) -> Iterator[OwnBest]:
    """Yield the rows of a table of curves at their own best scales, the base first.

    Of columns that are means over images: of others (FID, IS) there is no half to choose on.

    Raises:
        ProtocolError: unlike images, training seeds or noise on both sides.
    """
    base = baseline_of(data)
    for column in data.columns if data.curve and base is not None else ():
        if not column["per_image"] or column.get("against") is not None:
            continue
        scale = protocol_scale(data, column["key"])
        there = _own(data, str(base), column)
        if there is None:
            continue
        here = _cells(data, str(base), column["key"], scale)
        yield _own_best(str(base), column, there, here)
        for row in data.shown:
            found = None if row["key"] == base else _own(data, row["key"], column)
            if found is None:
                continue
            ours = _cells(data, row["key"], column["key"], scale)
            yield _against(data, column, row["key"], (found, ours), (there, here))


@dataclass(frozen=True, kw_only=True)
class _Own:
    """A row's cells with the images of its best scales, and those scales."""

    cells: list[CellData]
    scales: tuple[float, float]


def _own_best(row: str, column: Mapping[str, Any], own: _Own, fixed: list[CellData]) -> OwnBest:
    value = row_summary(row, column, own.cells).estimate
    moved = paired_cells(row, column, own.cells, fixed).estimate
    assert value is not None and moved is not None  # all of them were measured
    images = sum(len(cell.values) for cell in own.cells)
    return OwnBest(
        row=row, column=column["key"], scales=own.scales, images=images, value=value, moved=moved
    )


def _against(
    data: TableData,
    column: Mapping[str, Any],
    row: str,
    ours: tuple[_Own, list[CellData]],
    base: tuple[_Own, list[CellData]],
) -> OwnBest:
    best = (ours[0].cells, base[0].cells)
    fixed = (ours[1], base[1])
    if takes_fewer_seeds(data, row):
        best, fixed = common_cells(*best), common_cells(*fixed)
    return replace(
        _own_best(row, column, *ours),
        fixed=paired_cells(row, column, *fixed).estimate,
        difference=paired_cells(row, column, *best).estimate,
        guidance=paired_contrast(column, fixed, best),
    )


def _own(data: TableData, row: str, column: Mapping[str, Any]) -> _Own | None:
    """Return a row at the scale that is best on the other half; None where one was not measured."""
    at = {scale: _cells(data, row, column["key"], scale) for scale in data.curve}
    if not all(is_measured(cells) and all(c.values for c in cells) for cells in at.values()):
        return None
    first = _first_half(cell.values for cell in at[data.curve[0]])
    chosen = []
    for half in (True, False):
        means = {s: _mean(cells, first, half=half) for s, cells in at.items()}
        sign = 1.0 if column["higher_is_better"] else -1.0
        chosen.append(max(at, key=lambda s: (sign * means[s], -s)))
    on_first, on_second = chosen
    cells = [
        _joined(a, b, first) for a, b in zip(at[on_second], at[on_first], strict=True)
    ]  # the first half's images are of the scale that the second half chose
    return _Own(cells=cells, scales=(on_first, on_second))


def _first_half(found: Iterator[Sequence[ImageValue]]) -> set[str]:
    """Return every second prompt of each task, by the hash of its id."""
    tasks: dict[str, set[str]] = {}
    for values in found:
        for value in values:
            tasks.setdefault(value.tag, set()).add(value.prompt_id)
    return {
        prompt
        for prompts in tasks.values()
        for prompt in sorted(prompts, key=lambda p: hashlib.sha256(p.encode()).digest())[::2]
    }


def _mean(cells: Sequence[CellData], first: set[str], *, half: bool) -> float:
    values = [v for cell in cells for v in cell.values if (v.prompt_id in first) is half]
    return _mean_of(values) if values else 0.0


def _mean_of(values: Sequence[ImageValue]) -> float:
    return mean_of_means(
        stratify([v.value for v in values], [v.prompt_id for v in values], [v.tag for v in values])
    )


def _joined(a: CellData, b: CellData, first: set[str]) -> CellData:
    """Return a cell with the first half's images of `a` and the second's of `b`."""
    values = [v for v in a.values if v.prompt_id in first]
    values += [v for v in b.values if v.prompt_id not in first]
    return replace(
        a, values=tuple(values), estimate=Estimate(value=_mean_of(values), n=len(values))
    )


def _cells(data: TableData, row: str, column: str, scale: float) -> list[CellData]:
    return cells_at(data, row, column, scale, protocol_scale(data, column))
