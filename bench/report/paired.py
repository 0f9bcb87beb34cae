"""The paired difference of two groups of cells: of two rows of a table, or of two tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.api.estimate import Estimate
from bench.report.model import CellData, Summary
from bench.stats import (
    RowValues,
    combine,
    paired_difference,
    paired_over_seeds,
    paired_summary,
)


def paired_cells(
    row: str, column: str, ours: Sequence[CellData], base: Sequence[CellData]
) -> Summary:
    """Return `ours` less `base`.

    Args:
        row, column: the keys the result carries.
        ours: one cell per training seed, or the one of a row without training.
        base: the same; where both were trained, of the same seeds.

    Raises:
        ProtocolError: unlike images, blocks or training seeds on both sides.
    """
    bad = next((c for c in [*ours, *base] if c.state != "measured"), None)
    if bad is not None or not ours or not base:
        state, reason = (bad.state, bad.reason) if bad else ("n/a", "not asked for")
        return Summary(row=row, column=column, state=state, reason=reason)
    trained = [side[0].seed is not None for side in (ours, base)]
    if all(c.values for c in [*ours, *base]):
        if not any(trained):
            given = _of_images(ours[0], base[0])
            return Summary(row=row, column=column, state="measured", given=given)
        first = base[0].values
        found = paired_summary(
            _by_seed(ours, base), _by_seed(base, ours),
            {v.key: v.prompt_id for v in first}, {v.key: v.tag for v in first},
        )  # fmt: skip
        return Summary(
            row=row, column=column, state="measured", given=found.given_checkpoints,
            seeds=found.over_seeds,
        )  # fmt: skip
    estimates = [c.estimate for c in [*ours, *base] if c.estimate is not None]
    weights = [1.0 / len(ours)] * len(ours) + [-1.0 / len(base)] * len(base)
    seeds = paired_over_seeds(row_values(ours), row_values(base)) if any(trained) else None
    given = combined(estimates, weights)
    return Summary(row=row, column=column, state="measured", given=given, seeds=seeds)


def row_values(cells: Sequence[CellData]) -> RowValues:
    """Return a row's values by training seed."""
    return RowValues(
        by_seed={c.seed or 0: c.estimate.value for c in cells if c.estimate is not None},
        trained=cells[0].seed is not None,
    )


def combined(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """Return the weighted sum of jackknifed metrics; without interval where one has none."""
    value = math.fsum(w * e.value for w, e in zip(weights, estimates, strict=True))
    n, clusters = estimates[0].n, estimates[0].clusters
    sizes = {e.block_sizes for e in estimates}
    if len(sizes) != 1 or not estimates[0].leave_out:
        return Estimate(value=value, n=n, clusters=clusters)
    without = [
        math.fsum(w * e.leave_out[j] for w, e in zip(weights, estimates, strict=True))
        for j in range(len(estimates[0].leave_out))
    ]
    return combine(value, without, list(estimates[0].block_sizes)).estimate(clusters=clusters)


def _by_seed(
    cells: Sequence[CellData], others: Sequence[CellData]
) -> dict[int, Mapping[str, float]]:
    """Return image values by training seed; a row without training has those of the others'."""
    if cells[0].seed is None:
        values = {v.key: v.value for v in cells[0].values}
        return {other.seed or 0: values for other in others}
    return {c.seed or 0: {v.key: v.value for v in c.values} for c in cells}


def _of_images(a: CellData, b: CellData) -> Estimate:
    return paired_difference(
        [v.value for v in a.values],
        [v.value for v in b.values],
        [v.key for v in a.values],
        [v.key for v in b.values],
        [v.prompt_id for v in a.values],
        [v.tag for v in a.values],
    )
