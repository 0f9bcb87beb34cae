"""What the models of a table were trained on: settings of the data that papers leave unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.report.model import CellData
from bench.steps.data import PairStep
from bench.steps.graph import Graph

KEY = "trained_on"


def pair_sets(chain: Iterable[str], graph: Graph) -> list[str]:
    """Return in words the pair sets among the artifacts behind a cell."""
    steps = (graph[key] for key in dict.fromkeys(chain))
    return [step.described for step in steps if isinstance(step, PairStep)]


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
