"""Which cells are circular: measured by what selected the training data, or was the reward.

Published: RealAlign chooses its photographs by PickScore and reports PickScore. Here the manifest
of a pair set names the back-ends that selected it, and that is followed from the scores of a cell
through every training it came from. Two back-ends are one scorer where their weights are the same,
whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.api.errors import BenchError
from bench.report.model import CellData, TableData
from bench.store import Artifact, Store

KEY = "circular"
"""Where a pair set's manifest (`config`) and a cell's provenance name the back-ends."""


@dataclass(kw_only=True)
class Selections:
    """What selected the data behind artifacts of a store; each is looked up once.

    Attributes:
        store: where the artifacts are.
    """

    store: Store
    _found: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def behind(self, key: str) -> tuple[str, ...]:
        """Return the names of back-ends that selected data an artifact was made from.

        An artifact that is not in the store any more tells nothing.
        """
        if key not in self._found:
            self._found[key] = ()  # nothing is upstream of itself; a broken manifest ends here
            try:
                artifact = self.store.get(key)
            except BenchError:
                return ()
            own = _named(artifact)
            above = [n for k in artifact.upstream.values() for n in self.behind(str(k))]
            self._found[key] = tuple(dict.fromkeys([*own, *above]))
        return self._found[key]


def marked_claims(data: TableData) -> TableData:
    """Return the table with the claims marked circular whose cells are."""
    marked = {(cell.row, cell.column) for cell in data.cells if cell.provenance.get(KEY)}
    claims = tuple(
        {**c, KEY: bool(c[KEY]) or any((c[s], c["column"]) in marked for s in ("better", "worse"))}
        for c in data.claims
    )
    return replace(data, claims=claims)


def circular_cells(cells: Sequence[CellData]) -> dict[tuple[str, str], list[str]]:
    """Return the back-ends of circular cells by (row, column), over training seeds."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        for name in cell.provenance.get(KEY, ()):
            names = found.setdefault((cell.row, cell.column), [])
            if name not in names:
                names.append(name)
    return found


def _named(artifact: Artifact) -> Iterator[str]:
    config = artifact.manifest.get("config")
    names = config.get(KEY) if isinstance(config, Mapping) else None
    yield from (str(name) for name in names or ())
