"""Faults of a table's file, with the part of the file that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.api.errors import UsageError


class SpecError(UsageError):
    """A part of a table's file is wrong.

    Attributes:
        place: keys and list positions that lead to it.
    """

    place: tuple[str | int, ...] = ()


@contextmanager
def placed(where: str, *place: str | int) -> Iterator[None]:
    """Let a UsageError say which part of the file it is about."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        found = SpecError(text if text.startswith(where) else f"{where}: {text}")
        found.place = place
        raise found from error
