"""What the command line sets: it wins over every file, and what nothing reads is refused.

Whether a setting is read is found by trying: it is given another value, and what the command would
make is put beside what it would make otherwise. A setting that changes nothing at all is not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from bench.api.errors import UsageError, did_you_mean
from bench.config import assigned, override

T = TypeVar("T")

_WORDS = ("nothing-reads-this", "float16", "jpeg75", "float32", "png", "hub", "path", "cpu", "cuda")
"""Texts to try; some settings take only a few."""


def require_read(
    overrides: Sequence[str],
    load: Callable[[Sequence[str]], T],
    made: Callable[[T], object],
    known: Callable[[], Mapping[str, Any]],
) -> None:
    """Make sure that each setting of the command line means something for this command.

    Args:
        overrides: `"key.key=value"`.
        load: reads the settings with such changes; refuses values that cannot be.
        made: returns all that the command would do with settings, comparable.
        known: returns the settings there are, nested, for the suggestion.

    Raises:
        UsageError: naming the setting that nothing reads, with the nearest ones there are.
    """
    if not overrides:
        return
    now = made(load(overrides))
    for assignment in overrides:
        asked: dict[str, Any] = {}
        override(asked, assignment)
        for key, value in leaves(asked):
            if not _is_read(key, value, overrides, load, made, now):
                names = [name for name, _ in leaves(known()) if name != key]
                raise UsageError(
                    f"--set {assignment!r}: nothing reads {key} here.{did_you_mean(key, names)} "
                    "Leave it out, or name what this command uses (bench plan shows it)."
                )


def leaves(data: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each setting in a nested mapping."""
    for key, value in data.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, name)
        else:
            yield name, value


def asked_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Return what the command line set, nested, and nothing else."""
    asked: dict[str, Any] = {}
    for assignment in overrides:
        override(asked, assignment)
    return asked


def dotted_of(overrides: Sequence[str]) -> dict[str, Any]:
    """Return by dotted key what the command line set (UsageError: one is no `KEY=VALUE`)."""
    found: dict[str, Any] = {}
    for assignment in overrides:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment!r}; expected KEY=VALUE, e.g. top_k=128.")
        found[key] = assigned(assignment, text)
    return found


def names_of(cls: type[Any]) -> dict[str, Any]:
    """Return a dataclass's fields as settings without a value, for suggestions."""
    return {field.name: None for field in fields(cls)}


def _is_read(
    key: str,
    value: Any,
    overrides: Sequence[str],
    load: Callable[[Sequence[str]], T],
    made: Callable[[T], object],
    now: object,
) -> bool:
    for other in _others(value):
        if other == value:
            continue
        try:
            settings = load([*overrides, f"{key}={json.dumps(other)}"])
        except Exception:
            continue  # it cannot have this value
        try:
            return made(settings) != now
        except Exception:
            return True
    return True  # it could not be tried


def _others(value: Any) -> list[Any]:
    """Return values a setting could have in place of `value`, of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value * 2 + 2, value * 9, value / 2]
    if isinstance(value, str):
        return list(_WORDS)
    if isinstance(value, list):
        return [[*value, *value], [], value[:1], value[1:]]
    return [*_WORDS, 1, 0.5]
