"""On which processors a table's numbers were made, and the note where they are unlike.

Instruction sets differ in the last bits of their sums. That is no fault and changes no protocol,
but who compares numbers of two processors is told so; docs/reliability.md has its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from bench.api.errors import CorruptArtifactError, UsageError
from bench.report.model import CellData
from bench.store import Store
from bench.store.processor import PRECISIONS, UNKNOWN, made_on

KEY = "made_on"
"""Where a cell's provenance has role -> what the artifact was made on."""
SIZE = "sums differ in their last bits, see docs/reliability.md, Other processors"


def with_processors(cells: Iterable[CellData], store: Store) -> list[CellData]:
    """Return the cells; those that are measured say what their artifacts were made on.

    Artifacts from before this was recorded, or no longer in the store, are left out.
    """
    known: dict[str, str] = {}

    def maker(key: str) -> str:
        if key not in known:
            try:
                known[key] = made_on(store.get(key).manifest.get("provenance") or {})
            except (UsageError, CorruptArtifactError):
                known[key] = UNKNOWN
        return known[key]

    made = []
    for cell in cells:
        artifacts: Mapping[str, str] = cell.provenance.get("artifacts", {})
        makers = {role: maker(key) for role, key in artifacts.items() if maker(key) != UNKNOWN}
        made.append(replace(cell, provenance={**cell.provenance, KEY: makers}) if makers else cell)
    return made


def lines(cells: Iterable[CellData]) -> list[str]:
    """Return the notes: numbers of unlike processors that stand side by side, and those that a
    variable of the environment had computed at another precision.

    Unlike are two artifacts of one role: images drawn on a GPU and scored on a CPU are not.

    Args:
        cells: of one table, or of all that are compared.
    """
    by_role: dict[str, set[str]] = {}
    for cell in cells:
        for role, name in cell.provenance.get(KEY, {}).items():
            by_role.setdefault(role, set()).add(str(name))
    unlike = sorted({name for names in by_role.values() if len(names) > 1 for name in names})
    found = [f"made on unlike processors ({'; '.join(unlike)}): {SIZE}"] if unlike else []
    words = {word for names in by_role.values() for name in names for word in name.split(", ")}
    other = sorted(word for word in words if word.startswith(tuple(f"{p}=" for p in PRECISIONS)))
    if other:
        found.append(f"computed at another precision than asked for ({', '.join(other)})")
    return found
