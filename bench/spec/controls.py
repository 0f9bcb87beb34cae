"""What a table's control rows must show is checked against the table's rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.spec.placed import placed
from bench.spec.rows import TESTED, RowSpec

if TYPE_CHECKING:
    from bench.spec.table import TableSpec


def check_controls(table: TableSpec) -> None:
    """Make sure that each control of a table can be tested.

    Raises:
        SpecError: a control names a row or a column that the table has not, has nothing to be
            compared with, or is compared with a row whose training seeds are not paired with its.
    """
    for number, row in enumerate(table.rows):
        if row.control in TESTED:
            with placed(f"table {table.name}, row {number + 1}", "rows", number):
                _check(table, row)


def _check(table: TableSpec, row: RowSpec) -> None:
    for column in row.columns:
        table.column(column)
    for key in row.concerns:
        if table.row(key).control:
            raise UsageError(f"row {row.key!r} concerns {key!r}, a control itself: no claim is.")
    other = base_row(table.rows) if row.base is None else table.row(row.base)
    if other is None:
        raise UsageError(
            f"row {row.key!r} has control: {row.control}, and the table has no base to compare it "
            "with; name a row with base: ROW."
        )
    if other.key == row.key:
        raise UsageError(f"row {row.key!r} cannot be compared with itself; change base.")
    if row.trained:
        require_paired({r.key: r for r in (row, other)})


def base_row(rows: Sequence[RowSpec]) -> RowSpec | None:
    """Return the row that differences are taken from: the first base that is no control."""
    return next((row for row in rows if row.checkpoint is not None and not row.control), None)


def require_paired(rows: Mapping[str, RowSpec]) -> None:
    """Make sure that images of these rows are sampled from equal noise, seed by seed.

    Raises:
        UsageError: one has a sampling seed of its own.
    """
    seeds = {key: row.sampling_seed for key, row in rows.items()}
    if len(set(seeds.values())) > 1:
        told = ", ".join(
            f"{key} from that of sampling_seed {seed}" if seed is not None else f"{key} from all's"
            for key, seed in seeds.items()
        )
        raise UsageError(
            f"the seeds of {' and '.join(seeds)} are not paired, for their images are sampled from "
            f"unlike noise ({told}); a claim needs rows of one noise: leave sampling_seed out."
        )
