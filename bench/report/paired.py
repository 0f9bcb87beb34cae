"""The value of a group of cells, and the paired difference of two: of two rows, or two tables.

One error term for all (`bench.stats.crossed`): what would change if the study were done again.
A row without training has no training seeds in it; its cells at several noises are so many more
images of each prompt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.api.estimate import Estimate
from bench.report.model import CellData, Summary, TableData
from bench.report.pairing import cell_name, compared_cells, matched, other_noise
from bench.spec.table import WHOLE_RUNS
from bench.stats import (
    CrossedEstimate,
    crossed_difference,
    crossed_mean,
    crossed_metric,
    crossed_metric_difference,
)
from bench.stats.bootstrap import require_same_keys

_UNTRAINED = 0
"""The one key of a row without training."""


def row_summary(row: str, column: Mapping[str, Any], cells: Sequence[CellData]) -> Summary:
    """Return a row's value.

    Args:
        row: its key.
        column: as in `TableData.columns`.
        cells: all of the row in this column.

    Raises:
        ProtocolError: training seeds were measured on unlike prompts.
    """
    missing = _missing(row, column, cells)
    if missing is not None:
        return missing
    low, high = column.get("range") or (None, None)
    groups = _by_training([(cell,) for cell in cells])
    if column.get("units") == WHOLE_RUNS:
        found = _whole_runs([_estimate(cell).value for cell in cells])
    elif all(cell.values for cell in cells):
        images = {seed: _images(group, 0) for seed, group in groups.items()}
        prompts, tasks = _places(groups.values())
        found = crossed_mean(images, prompts, tasks, bounds=(low, high))
    else:
        sets = {seed: _mean(group, 0) for seed, group in groups.items()}
        found = crossed_metric(sets, bounds=(low, high))
    return Summary(
        row=row,
        column=str(column["key"]),
        state="measured",
        estimate=found,
        images=_estimate(cells[0]).n,
        by_seed={cell_name(cell): _estimate(cell).value for cell in cells},
    )


def paired_cells(
    row: str,
    column: Mapping[str, Any],
    ours: Sequence[CellData],
    base: Sequence[CellData],
    *,
    other_noise: bool = False,
) -> Summary:
    """Return `ours` less `base`.

    Args:
        row: the key the result carries.
        column: as in `TableData.columns`.
        ours: one cell per training seed, or per noise of a row without training.
        base: the same; where both were trained, of the same seeds.
        other_noise: one of the rows says in the table that its noise is another.

    Raises:
        ProtocolError: unlike images, blocks, training seeds or noise on both sides.
    """
    missing = _missing(row, column, [*ours, *base] if ours and base else [])
    if missing is not None:
        return missing
    pairs = matched(ours, base, other_noise=other_noise)
    groups = _by_training(pairs)
    low, high = column.get("range") or (None, None)
    if column.get("units") == WHOLE_RUNS:
        found = _whole_runs([_estimate(a).value - _estimate(b).value for a, b in pairs])
    elif all(cell.values for cell in [*ours, *base]):
        sides = [{seed: _images(g, side) for seed, g in groups.items()} for side in (0, 1)]
        span = None if low is None or high is None else high - low
        prompts, tasks = _places(groups.values())
        found = crossed_difference(sides[0], sides[1], prompts, tasks, span=span)
    else:
        sets = [{seed: _mean(g, side) for seed, g in groups.items()} for side in (0, 1)]
        found = crossed_metric_difference(sets[0], sets[1])
    return Summary(
        row=row,
        column=str(column["key"]),
        state="measured",
        estimate=found,
        images=_estimate(ours[0]).n,
    )


def paired_rows(data: TableData, row: str, other: str, column: Mapping[str, Any]) -> Summary:
    """Return one row of a table less another in a column.

    Raises:
        ProtocolError: as `paired_cells`.
    """
    ours, theirs = compared_cells(data, row, other, str(column["key"]))
    return paired_cells(row, column, ours, theirs, other_noise=other_noise(data, row, other))


def paired_contrast(
    column: Mapping[str, Any],
    first: tuple[Sequence[CellData], Sequence[CellData]],
    second: tuple[Sequence[CellData], Sequence[CellData]],
) -> CrossedEstimate | None:
    """Return one difference of two rows less another one, image by image and seed by seed.

    Args:
        column: as in `TableData.columns`, of a metric with per-image values; None for others.
        first: the cells of two rows.
        second: those of the rows in whose place they stand, on the same prompts.

    Raises:
        ProtocolError: unlike images, training seeds or noise on any side.
    """
    if not all(cell.values for cells in (*first, *second) for cell in cells):
        return None
    groups = [_by_training(matched(*pair)) for pair in (first, second)]
    sides = [
        {seed: _less(_images(group, 0), _images(group, 1)) for seed, group in found.items()}
        for found in groups
    ]
    low, high = column.get("range") or (None, None)
    span = None if low is None or high is None else 2.0 * (high - low)
    prompts, tasks = _places(groups[0].values())
    return crossed_difference(sides[0], sides[1], prompts, tasks, span=span)


def _less(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    require_same_keys(a, b)
    return {key: value - b[key] for key, value in a.items()}


def is_trained(cells: Sequence[CellData]) -> bool:
    """Return whether any of these cells has a training seed."""
    return any(cell.training_seed is not None for cell in cells)


def _missing(row: str, column: Mapping[str, Any], cells: Sequence[CellData]) -> Summary | None:
    bad = next((c for c in cells if c.state != "measured"), None)
    if bad is None and cells:
        return None
    state, reason = (bad.state, bad.reason) if bad else ("n/a", "not asked for")
    return Summary(row=row, column=str(column["key"]), state=state, reason=reason)


def _estimate(cell: CellData) -> Estimate:
    if cell.estimate is None:
        raise ValueError(f"{cell.row}, {cell.column} is measured and has no estimate")
    return cell.estimate


Group = Sequence[Sequence[CellData]]
"""Cells, or pairs of cells, of one training seed."""


def _by_training(found: Sequence[Sequence[CellData]]) -> dict[int, list[Sequence[CellData]]]:
    """Return cells, or pairs of cells, by training seed; all under one key without training."""
    groups: dict[int, list[Sequence[CellData]]] = {}
    for cells in found:
        seeds = [c.training_seed for c in cells if c.training_seed is not None]
        groups.setdefault(seeds[0] if seeds else _UNTRAINED, []).append(cells)
    return groups


def _keys(group: Group) -> Iterator[tuple[str, Sequence[CellData]]]:
    """Yield cells with what goes before the keys of their images: images of another noise."""
    for number, cells in enumerate(group):
        yield "" if len(group) == 1 else f"{number}:", cells


def _images(group: Group, side: int) -> dict[str, float]:
    return {prefix + v.key: v.value for prefix, cells in _keys(group) for v in cells[side].values}


def _places(groups: Iterable[Group]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the prompt and the task of each image, by key."""
    named = [
        (prefix + value.key, value)
        for group in groups
        for prefix, cells in _keys(group)
        for value in cells[0].values
    ]
    return {key: v.prompt_id for key, v in named}, {key: v.tag for key, v in named}


def _mean(group: Group, side: int) -> Estimate:
    """Return the mean of a metric of a whole set over the noises of one training seed."""
    found = [_estimate(cells[side]) for cells in group]
    if len(found) == 1:
        return found[0]
    first = found[0]
    alike = len({e.block_sizes for e in found}) == 1
    blocks = zip(*(e.leave_out for e in found), strict=True) if alike else ()
    return Estimate(
        value=math.fsum(e.value for e in found) / len(found),
        n=first.n,
        clusters=first.clusters,
        leave_out=tuple(math.fsum(block) / len(found) for block in blocks),
        block_sizes=first.block_sizes if alike else (),
    )


def _whole_runs(values: Sequence[float]) -> CrossedEstimate:
    """Return the mean of numbers each of which a seed of its own drew everything for."""
    runs = {number: Estimate(value=value, n=1) for number, value in enumerate(values)}
    found = crossed_metric(runs)
    seeds = found.parts.seeds
    if seeds is None or not seeds.variance:
        return found
    return replace(
        found, stderr=math.sqrt(seeds.variance), df=seeds.df, low=seeds.low, high=seeds.high
    )
