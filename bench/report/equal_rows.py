"""Rows of one table whose pictures are all equal, though they are called unlike: one is a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.api.errors import BenchError
from bench.report.model import CellData
from bench.spec.request import Request
from bench.store import Store
from bench.store.remarks import REMARKS

_IMAGES = "images"


def with_equal_rows(
    cells: Sequence[CellData], request: Request, store: Store
) -> Iterator[CellData]:
    """Yield the cells; where all pictures of a row are those of an earlier one, that is a remark.

    Rows that the table itself makes from one image set (a row at its own best scale) say nothing.

    Args:
        cells: of the table.
        request: names its rows.
        store: where the image sets are.
    """
    added = {row.key for row in request.table.rows if row.added}
    known: dict[str, tuple[str, ...]] = {}
    first: dict[tuple[object, ...], tuple[str, str]] = {}
    for cell in cells:
        images = str(cell.provenance.get("artifacts", {}).get(_IMAGES, ""))
        if cell.state != "measured" or not images:
            yield cell
            continue
        if images not in known:
            known[images] = _pictures(store, images)
        pictures = known[images]
        row, other = first.setdefault((cell.column, pictures), (cell.row, images))
        own = row == cell.row or not pictures
        if own or (other == images and not added & {row, cell.row}):
            yield cell
            continue
        told = (
            f"all {len(pictures)} pictures are those of the row {row}: one checkpoint under two "
            "names?"
        )
        said = (*cell.provenance.get(REMARKS, ()), told)
        yield replace(cell, provenance={**cell.provenance, REMARKS: said})


def _pictures(store: Store, images: str) -> tuple[str, ...]:
    """Return the hashes of an image set's pictures; none where it is not there any more."""
    try:
        files = store.get(images).manifest["files"]
    except BenchError:
        return ()
    return tuple(files[name]["sha256"] for name in sorted(files) if name.startswith(f"{_IMAGES}/"))
