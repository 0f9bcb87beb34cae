"""Tables of format 1, from before a cell's training seed and noise seed were two fields.

Format 1 had one field, `seed`: the training seed, or nothing for a row without training. All
images of a row were sampled from one noise, which the image set's name tells; of the toy, noise
and training went by one seed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_NOISE = re.compile(r"\.s(\d+)(?=[.-])")
_TOY = "toy"


def upgraded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `table.json` of format 1 as one of the next format.

    Raises:
        KeyError, TypeError: it is damaged.
    """
    profile = {**stored["profile"]}
    toy = profile["name"] == _TOY
    profile["noise"] = "per-seed" if toy else "shared"
    cells = []
    for cell in stored["cells"]:
        found = dict(cell)
        seed = found.pop("seed")
        untrained = toy and not _trained_toy(str(cell["row"]))
        found["training_seed"] = None if untrained else seed
        found["noise_seed"] = seed if toy else _noise(cell, stored)
        cells.append(found)
    return {
        **stored,
        "profile": profile,
        "columns": [{**c, "units": "seeds"} if toy else c for c in stored["columns"]],
        "cells": cells,
    }


def _trained_toy(row: str) -> bool:
    """Whether a row of the toy has a network that was trained: its closed form alone was not."""
    return row != "exact-base"


def _noise(cell: Mapping[str, Any], stored: Mapping[str, Any]) -> int | None:
    """Return the noise seed in the name of a cell's images, else what the table says of it."""
    images = str(cell["provenance"].get("artifacts", {}).get("images", ""))
    named = _NOISE.search(images)
    if named is not None:
        return int(named[1])
    row = next(r for r in stored["rows"] if r["key"] == cell["row"])
    own = row.get("sampling_seed")
    return None if own is None else int(own)
