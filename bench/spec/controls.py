"""What a table's control rows must show is checked against the table's rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.api.errors import UsageError
from bench.spec.placed import placed
from bench.spec.rows import TESTED, RowSpec


def check_controls(
    where: str,
    rows: Sequence[RowSpec],
    row_of: Callable[[str], RowSpec],
    column_of: Callable[[str], object],
) -> None:
    """Make sure that each control of a table can be tested.

    Args:
        where: the table, for messages.
        rows: of the table.
        row_of, column_of: look up a key, and raise UsageError where it is unknown.

    Raises:
        SpecError: a control names a row or a column that the table has not, has nothing to be
            compared with, or is compared with a row whose training seeds are not paired with its.
    """
    for number, row in enumerate(rows):
        if row.control in TESTED:
            with placed(f"{where}, row {number + 1}", "rows", number):
                for column in row.columns:
                    column_of(column)
                base = base_row(rows) if row.base is None else row_of(row.base)
                _check(row, [row_of(key) for key in row.concerns], base)


def _check(row: RowSpec, concerned: Sequence[RowSpec], base: RowSpec | None) -> None:
    for other in concerned:
        if other.control:
            raise UsageError(
                f"row {row.key!r} concerns {other.key!r}, a control itself: no claim is."
            )
    if base is None:
        raise UsageError(
            f"row {row.key!r} has control: {row.control}, and the table has no base to compare it "
            "with; name a row with base: ROW."
        )
    if base.key == row.key:
        raise UsageError(f"row {row.key!r} cannot be compared with itself; change base.")
    if row.trained:
        require_paired({r.key: r for r in (row, base)})


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
