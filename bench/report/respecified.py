"""A stored table with what its file says of it now: claims, published values, notes, labels.

None of these was measured; a table that was measured before they were written down is judged by
them as well as a new one. What says how something was measured must not have changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.api.errors import UsageError
from bench.report.model import TableData
from bench.store import canonical_json

_WORDS = frozenset(
    {"label", "note", "control", "columns", "concerns", "base", "rewards", "decimals"}
    | {"range", "units", "seeds"}
)
"""Keys of rows and columns that do not say how something is measured."""


def respecified(stored: TableData, now: TableData) -> TableData:
    """Return a stored table as its file describes it now.

    Args:
        stored: with its cells.
        now: the same table as a run would describe it, without cells; its claims are marked as
            circular by the stored cells.

    Raises:
        UsageError: it has other rows or columns now, or measures them in another way.
    """
    for what, before, after in (
        ("row", stored.rows, now.rows),
        ("column", stored.columns, now.columns),
    ):
        unlike = _unlike(before, after)
        if unlike is not None:
            raise UsageError(
                f"table {stored.table}: {what} {unlike} is not what it was when the table was "
                "measured; run the table again."
            )
    return replace(
        stored,
        title=now.title,
        source=now.source,
        rows=now.rows,
        columns=now.columns,
        claims=now.claims,
        footnotes=now.footnotes,
        published=now.published,
        facts=now.facts,
        unrun=now.unrun,
        leaderboard=now.leaderboard,
    )


def _unlike(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the key of the first row or column that is measured in another way."""
    keys = [[str(one["key"]) for one in side] for side in (before, after)]
    for key in [*keys[0], *keys[1]]:
        if (key in keys[0]) != (key in keys[1]):
            return key
    if keys[0] != keys[1]:
        return keys[1][0]
    for one, other in zip(before, after, strict=True):
        if _measured(one) != _measured(other):
            return str(one["key"])
    return None


def _measured(entry: Mapping[str, Any]) -> Any:
    kept = {k: v for k, v in entry.items() if k not in _WORDS and v not in (None, False, {}, [])}
    return json.loads(canonical_json(kept))
