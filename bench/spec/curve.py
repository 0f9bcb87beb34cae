"""The guidance scales of a table of curves, as its file gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.api.errors import UsageError


def curve_of(scales: Sequence[Any], where: str, world: str | None) -> tuple[float, ...]:
    """Return the scales of a table of curves.

    Raises:
        UsageError: they are not two numbers or more, from 1 and ascending, or the table is of a
            world without guidance.
    """
    if not scales:
        return ()
    if world is not None:
        raise UsageError(
            f"{where} has curve: and is of {world}, which is sampled without guidance."
        )
    found = tuple(scales) if isinstance(scales, list | tuple) else (scales,)
    numbers = all(type(scale) in (int, float) and scale >= 1.0 for scale in found)
    if len(found) < 2 or not numbers or list(found) != sorted(set(found)):
        raise UsageError(
            f"{where}: curve is {list(found)}; expected two guidance scales or more, from 1 and "
            "ascending, such as [1, 2, 3]."
        )
    return tuple(float(scale) for scale in found)
