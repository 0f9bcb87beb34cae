"""Which cell of one row is paired with which of another: equal training seed, equal noise.

A trained cell of noise n meets the untrained cell of noise n: with one noise for all, every
training seed meets the same one. Two trained rows meet seed by seed, where both seeds were sampled
from equal noise too. Only a row with a sampling seed of its own (A against A) is compared across
noise, prompt by prompt: it says in the table that its noise is another.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.api.errors import ProtocolError
from bench.report.model import CellData, TableData


def partners(
    cell: CellData, others: Sequence[CellData], *, other_noise: bool = False
) -> list[CellData]:
    """Return those of another row's cells that one cell is paired with.

    Args:
        cell: of one row.
        others: all cells of the other row, of the same column.
        other_noise: whatever their noise.
    """
    return [
        other
        for other in others
        if (other_noise or other.noise_seed == cell.noise_seed)
        and (None in (cell.training_seed, other.training_seed)
             or cell.training_seed == other.training_seed)
    ]  # fmt: skip


def matched(
    ours: Sequence[CellData], theirs: Sequence[CellData], *, other_noise: bool = False
) -> list[tuple[CellData, CellData]]:
    """Return the pairs of two rows' cells; every cell is in one or more.

    Args:
        ours, theirs: all cells of a row, of one column.
        other_noise: one of the rows says that its noise is another.

    Raises:
        ProtocolError: a cell has no partner: it says whether of its training seed or its noise.
    """
    pairs = [(a, b) for a in ours for b in partners(a, theirs, other_noise=other_noise)]
    for side, cells, others in ((0, ours, theirs), (1, theirs, ours)):
        met = {id(pair[side]) for pair in pairs}
        alone = next((cell for cell in cells if id(cell) not in met), None)
        if alone is not None:
            raise _without_partner(alone, others)
    return pairs


def common_cells(
    ours: Sequence[CellData], theirs: Sequence[CellData], *, other_noise: bool = False
) -> tuple[list[CellData], list[CellData]]:
    """Return the cells of two tables' rows that have a partner on the other side."""
    return (
        [cell for cell in ours if partners(cell, theirs, other_noise=other_noise)],
        [cell for cell in theirs if partners(cell, ours, other_noise=other_noise)],
    )


def compared_cells(
    data: TableData, row: str, other: str, column: str
) -> tuple[list[CellData], list[CellData]]:
    """Return the cells of two rows of a table, to be compared in a column.

    Where one of them says how many seeds it takes, those that have a partner.
    """
    ours, theirs = data.of(row, column), data.of(other, column)
    if takes_fewer_seeds(data, row, other):
        return common_cells(ours, theirs, other_noise=other_noise(data, row, other))
    return ours, theirs


def takes_fewer_seeds(data: TableData, *rows: str) -> bool:
    """Return whether one of the rows says in the table how many seeds it takes."""
    return any(r["key"] in rows and r.get("seeds") is not None for r in data.rows)


def same_checkpoint(ours: Sequence[CellData], theirs: Sequence[CellData]) -> bool:
    """Return whether provenance shows that both sides' images are from the same checkpoints.

    It does where they are the same images, of the same training, or of checkpoints whose content
    is the same.
    """
    return bool(ours) and all(
        any(_one_checkpoint(cell, other) for other in others)
        for cells, others in ((ours, theirs), (theirs, ours))
        for cell in cells
    )


def _one_checkpoint(a: CellData, b: CellData) -> bool:
    if (a.training_seed, a.noise_seed) != (b.training_seed, b.noise_seed):
        return False
    known = [(c.provenance.get("artifacts", {}).get("images"), _checkpoint(c)) for c in (a, b)]
    return any(x is not None and x == y for x, y in zip(*known, strict=True))


def _checkpoint(cell: CellData) -> object:
    trained = cell.provenance.get("artifacts", {}).get("checkpoint")
    return trained or cell.provenance.get("checkpoint")


def seed_of(cell: CellData) -> int | None:
    """Return what tells a row's cells apart: the training seed, else the noise seed."""
    return cell.noise_seed if cell.training_seed is None else cell.training_seed


def other_noise(data: TableData, *rows: str) -> bool:
    """Return whether one of the rows says in the table that its noise is another."""
    return any(r["key"] in rows and r.get("sampling_seed") is not None for r in data.rows)


def cell_name(cell: CellData) -> str:
    """Return what tells the cells of a row apart: `2`, or `noise 2` of a row without training."""
    if cell.training_seed is not None:
        return str(cell.training_seed)
    return "-" if cell.noise_seed is None else f"noise {cell.noise_seed}"


def cell_title(cell: CellData) -> str:
    """Return a cell's row with its training seed and its noise, for messages."""
    noise = "unknown noise" if cell.noise_seed is None else f"noise {cell.noise_seed}"
    seed = "" if cell.training_seed is None else f"training seed {cell.training_seed}, "
    return f"{cell.row} ({seed}{noise})"


def _without_partner(cell: CellData, others: Sequence[CellData]) -> ProtocolError:
    theirs = ", ".join(cell_title(other) for other in others) or "nothing"
    if partners(cell, others, other_noise=True):
        return ProtocolError(
            f"{cell_title(cell)} has no partner of equal noise among {theirs}: differences are "
            "taken between images of one noise. Sample both rows with one --set noise, or the "
            "other at this noise too."
        )
    return ProtocolError(
        f"unlike training seeds: {cell_title(cell)} has no partner among {theirs}. Train both "
        "rows with the same --seeds."
    )
