"""What worker processes say: a JSON object a line, believed once it is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Kinds = Mapping[str, Mapping[str, tuple[type, ...]]]
"""By kind of message, the fields it must have and of what types; `object` is any."""


def read_message(line: str, key: str, kinds: Kinds) -> dict[str, Any] | None:
    """Return the message that a line holds, None where it holds none.

    Code that runs in a worker may write into every descriptor it finds: what lacks a field of its
    kind, or has another type there (true is no number), is no message.

    Args:
        line: as it was read.
        key: the field that names the kind.
        kinds: those that there are.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fields = kinds.get(str(found.get(key))) if isinstance(found, dict) else None
    if fields is None:
        return None
    holds = (
        name in found and (type(found[name]) in types or object in types)
        for name, types in fields.items()
    )
    return dict(found) if all(holds) else None
