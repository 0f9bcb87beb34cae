"""What the cells of a table say of what they were made from: settings of the data that papers leave
unsaid, and remarks (`bench.store.remarks`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.report.model import CellData
from bench.store.remarks import REMARKS

KEY = "trained_on"


def lines(cells: Iterable[CellData]) -> Iterator[str]:
    """Yield one line per pair set behind the cells, with the rows that were trained on it, and one
    per remark, with the rows that it is of.
    """
    shown = list(cells)
    for said, rows in _rows_by(shown, KEY).items():
        yield f"{', '.join(rows)}: trained on {said}"
    for said, rows in _rows_by(shown, REMARKS).items():
        yield f"{', '.join(rows)}: {said}"


def _rows_by(cells: Iterable[CellData], key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for cell in cells:
        for said in cell.provenance.get(key, ()):
            rows = found.setdefault(str(said), [])
            if cell.row not in rows:
                rows.append(cell.row)
    return found
