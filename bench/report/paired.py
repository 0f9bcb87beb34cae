"""The paired difference of two groups of cells: of two rows of a table, or of two tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.api.estimate import Estimate
from bench.report.model import CellData, Summary
from bench.report.pairing import matched
from bench.stats import (
    RowValues,
    combine,
    paired_over_seeds,
    paired_summary,
)


def paired_cells(
    row: str,
    column: str,
    ours: Sequence[CellData],
    base: Sequence[CellData],
    *,
    other_noise: bool = False,
) -> Summary:
    """Return `ours` less `base`.

    Args:
        row, column: the keys the result carries.
        ours: one cell per training seed, or per noise of a row without training.
        base: the same; where both were trained, of the same seeds.
        other_noise: one of the rows says in the table that its noise is another.

    Raises:
        ProtocolError: unlike images, blocks, training seeds or noise on both sides.
    """
    bad = next((c for c in [*ours, *base] if c.state != "measured"), None)
    if bad is not None or not ours or not base:
        state, reason = (bad.state, bad.reason) if bad else ("n/a", "not asked for")
        return Summary(row=row, column=column, state=state, reason=reason)
    pairs = matched(ours, base, other_noise=other_noise)
    trained = any(c.training_seed is not None for c in [*ours, *base])
    if all(c.values for c in [*ours, *base]):
        first = base[0].values
        found = paired_summary(
            _by_seed(pairs, 0), _by_seed(pairs, 1),
            {v.key: v.prompt_id for v in first}, {v.key: v.tag for v in first},
        )  # fmt: skip
        return Summary(
            row=row, column=column, state="measured", given=found.given_checkpoints,
            seeds=found.over_seeds if trained else None,
        )  # fmt: skip
    estimates = [c.estimate for c in [*ours, *base] if c.estimate is not None]
    weights = [1.0 / len(ours)] * len(ours) + [-1.0 / len(base)] * len(base)
    seeds = paired_over_seeds(row_values(ours), row_values(base)) if trained else None
    given = combined(estimates, weights)
    return Summary(row=row, column=column, state="measured", given=given, seeds=seeds)


def row_values(cells: Sequence[CellData]) -> RowValues:
    """Return a row's values by training seed, of a row without training by noise seed."""
    return RowValues(
        by_seed={seed_of(c): c.estimate.value for c in cells if c.estimate is not None},
        trained=cells[0].training_seed is not None,
    )


def seed_of(cell: CellData) -> int:
    """Return what tells a row's cells apart: the training seed, else the noise seed."""
    seed = cell.noise_seed if cell.training_seed is None else cell.training_seed
    return seed or 0


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


def _by_seed(pairs: Sequence[tuple[CellData, CellData]], side: int) -> dict[int, dict[str, float]]:
    """Return one side's image values by the training seed of the pair, else by its noise.

    Cells that meet one training seed at several noises (A against A) are averaged.
    """
    met: dict[int, list[dict[str, float]]] = {}
    for pair in pairs:
        trained = next((c for c in pair if c.training_seed is not None), pair[0])
        values = {v.key: v.value for v in pair[side].values}
        met.setdefault(seed_of(trained), []).append(values)
    return {
        seed: {
            key: math.fsum(t.get(key, math.nan) for t in tables) / len(tables) for key in tables[0]
        }
        for seed, tables in met.items()
    }
