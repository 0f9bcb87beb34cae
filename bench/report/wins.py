"""Cells of a win-rate column: from each row's scores to its points against another row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bench.api.errors import ProtocolError
from bench.report.model import CellData, ImageValue
from bench.report.pairing import partners
from bench.spec.table import ColumnSpec
from bench.stats.wins import mean_points, win_points, win_rate


def with_win_rates(
    cells: Sequence[CellData],
    columns: Mapping[str, ColumnSpec],
    higher: Mapping[str, bool],
    other_noise: Collection[str] = (),
) -> tuple[CellData, ...]:
    """Put points and win rates in place of the scores in all cells of win-rate columns.

    A trained row meets the opponent of its own training seed. A row without training meets each
    training seed of its opponent: its rate changes with them, so it has a cell for each. Noise is
    equal, but where a row has a sampling seed of its own.

    Args:
        cells: of a table; those of win-rate columns with the scores as `values`.
        columns: by key.
        higher: by key of a win-rate column, whether higher scores are better.
        other_noise: keys of rows that have a sampling seed of their own.
    """
    found: list[CellData] = []
    for cell in cells:
        against = columns[cell.column].against
        if against is None or cell.state != "measured":
            found.append(cell)
            continue
        others = [c for c in cells if (c.row, c.column) == (against, cell.column)]
        noise = cell.row in other_noise or against in other_noise
        met = partners(cell, others, other_noise=noise)
        if not met:
            known = "has no cell of equal seed and noise" if others else "was not asked for"
            reason = f"row {against}, which it is compared with, {known}"
            found.append(replace(cell, values=(), estimate=None, state="n/a", reason=reason))
        for seed in dict.fromkeys(other.training_seed for other in met):
            rounds = [other for other in met if other.training_seed == seed]
            own = cell.training_seed if cell.training_seed is not None else seed
            decided = _decided(cell, rounds, against, higher[cell.column])
            found.append(replace(decided, training_seed=own))
    return tuple(found)


def _decided(cell: CellData, others: Sequence[CellData], against: str, higher: bool) -> CellData:
    """Return a cell's win rate against cells of one training seed."""
    bare = replace(cell, values=(), estimate=None)
    for other in others:
        if other.state != "measured":
            reason = f"row {against}, which it is compared with: {other.reason}"
            return replace(bare, state=other.state, reason=reason)
    ours = {value.key: value.value for value in cell.values}
    try:
        rounds = [
            win_points(ours, {v.key: v.value for v in other.values}, higher_is_better=higher)
            for other in others
        ]
        points = mean_points(rounds)
        values = tuple(_pointed(value, points[value.key]) for value in cell.values)
        estimate = win_rate([v.value for v in values], [v.prompt_id for v in values])
    except (ProtocolError, ValueError) as error:
        return replace(bare, state="failed", reason=" ".join(str(error).split()))
    return replace(cell, values=values, estimate=estimate)


def _pointed(value: ImageValue, points: float) -> ImageValue:
    """One task for all: a win rate is a plain share of the images."""
    return replace(value, value=points, tag="")
