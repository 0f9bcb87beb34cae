"""What the statistics of a table depend on, as one hash: stored ones hold while it fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from bench.report.model import TableData, cell_to_json, place_of
from bench.store import canonical_json

STATISTICS_VERSION = 3
"""Bumped when the statistics of unchanged cells may change."""


def inputs_hash(data: TableData) -> str:
    """Return the hash of all the statistics depend on: cells, values, claims, columns."""
    head = {
        "version": STATISTICS_VERSION,
        "rows": [_of_statistics(row) for row in data.rows],
        "columns": list(data.columns),
        "claims": list(data.claims),
        **({"facts": list(data.facts)} if data.facts else {}),
        **({"unrun": list(data.unrun)} if data.unrun else {}),
        **({"scales": dict(data.scales)} if data.scales else {}),
        **({"leaderboard": data.leaderboard} if data.leaderboard else {}),
        **({"curve": list(data.curve)} if data.curve else {}),
        "cells": [cell_to_json(cell) for cell in data.cells],
    }
    digest = hashlib.sha256(canonical_json(head).encode("ascii"))
    for cell in data.cells:
        place = "\x1f".join(str(part) for part in place_of(cell))
        digest.update(f"\n{place}\n".encode())
        lines = [f"{v.prompt_id}\x1f{v.ordinal}\x1f{v.tag}\x1f{v.value!r}\n" for v in cell.values]
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def _of_statistics(row: Mapping[str, Any]) -> list[Any]:
    """Return what statistics depend on of a row: of a control also what it must show."""
    found = [row["key"], row["checkpoint"], row["control"]]
    names = ("columns", "concerns", "base", "scale_of")
    more = {name: row[name] for name in names if row.get(name)}
    return [*found, {**more, "method": row["method"]}] if more else found
