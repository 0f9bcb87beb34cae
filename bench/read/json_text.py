"""JSON of users: what Python's reader would take in silence is refused.

A key given twice (the last would win), NaN and infinities, halves of characters, nesting without
end. Whatever is wrong names file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.read.text import lines_of, read_text, require_characters, shown


def parse_json(text: str, where: str) -> Any:
    """Return what a JSON text holds.

    Args:
        text: one value.
        where: of the text, for messages.

    Raises:
        UsageError: it is no JSON, or holds what is refused.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{where}: the key {twice!r} stands there twice; keep one")
        return found

    def refused(name: str) -> Any:
        raise UsageError(f"{where}: {name} is no number; write a number, or null")

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=refused)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"{error.colno}"
        raise UsageError(f"{where}: no JSON: {error.msg} (at {at})") from None
    except RecursionError:
        raise UsageError(f"{where}: brackets nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"{where}: no JSON: {error}") from None
    _require_characters(found, where)
    return found


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        MissingFileError, UsageError: as `read_text` and `parse_json`.
    """
    return parse_json(read_text(path), shown(path))


def json_lines(text: str, where: str) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line that is not blank; see `lines_of`."""
    for number, line in enumerate(lines_of(text, where), start=1):
        if line.strip():
            yield number, line


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each line of a file that is not blank.

    Raises:
        MissingFileError, UsageError: as `read_lines` and `parse_json`; file and line are named.
    """
    name = shown(path)
    for number, line in json_lines(read_text(path), name):
        yield number, parse_json(line, f"{name}, line {number}")


def _require_characters(value: Any, where: str) -> None:
    if isinstance(value, str):
        require_characters(value, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            require_characters(key, where)
            _require_characters(item, f"{where}: {key}")
    elif isinstance(value, list):
        for item in value:
            _require_characters(item, where)
