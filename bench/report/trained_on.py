"""What the models of a table were trained on: settings of the data that papers leave unsaid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.api.errors import BenchError
from bench.data.kinds import DEFAULT, image_draws
from bench.report.model import CellData
from bench.tables.nodes import Graph

KEY = "trained_on"


def described(name: str, payload: Mapping[str, Any]) -> str:
    """Return a pair set in words.

    Args:
        name: of the pair set.
        payload: of its node: `kind` and `settings`.
    """
    kind, settings = str(payload["kind"]), payload["settings"]
    said = [f"{name} ({kind})"]
    if kind == DEFAULT:
        least = int(settings.get("min_words", 1))
        said.append(f"prompts of {least} words or more, {settings['perturbation']}")
    try:
        draws = image_draws(kind, settings)
    except BenchError:
        draws = None  # another version's settings; what is known is said
    if draws is not None and draws.words():
        said.append(draws.words())
    return ", ".join(said)


def pair_sets(chain: Iterable[str], graph: Graph) -> list[str]:
    """Return in words the pair sets among the artifacts behind a cell."""
    nodes = (graph[key] for key in dict.fromkeys(chain))
    pairs = (node for node in nodes if node.kind == "pairs" and "kind" in node.payload)
    return [described(node.name, node.payload) for node in pairs]


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
