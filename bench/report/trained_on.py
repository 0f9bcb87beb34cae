"""What the models of a table were trained on: settings of the data that papers leave unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.report.model import CellData

KEY = "trained_on"


def lines(cells: Iterable[CellData]) -> Iterator[str]:
    """Yield one line per pair set behind the cells, with the rows that were trained on it."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        for said in cell.provenance.get(KEY, ()):
            rows = found.setdefault(str(said), [])
            if cell.row not in rows:
                rows.append(cell.row)
    for said, rows in found.items():
        yield f"{', '.join(rows)}: trained on {said}"
