"""What an artifact *is*: a canonical form of everything that can change its numbers, hashed.

The canonical form is JSON with sorted keys, in ASCII, without blanks. Floats are written by
`repr` (the shortest text that reads back as the same number), so 1 and 1.0 differ, and NaN and
infinities are refused. Paths become POSIX text, tuples lists, dataclasses mappings, enumeration
members their values.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from bench.api.errors import UsageError
from bench.store.source import code_identity, plugin_source_hash

__all__ = [
    "artifact_id",
    "canonical_json",
    "code_identity",
    "diff_identity",
    "folder_name",
    "identity_hash",
    "plain",
    "plugin_source_hash",
]

HASH_LENGTH = 12
"""Hexadecimal digits of the identity hash in a folder's name; the manifest holds all 64."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}")
_ABSENT = object()
_PLAIN = frozenset({bool, str, int})


def plain(value: Any, where: str = "") -> Any:
    """Return `value` as JSON-able data (dict, list, str, int, float, bool, None).

    Args:
        value: mappings with text keys, dataclass instances, lists, tuples, paths, enumeration
            members, numbers (numpy's too), text, None, nested at will.
        where: the dotted key of `value`, for messages.

    Raises:
        UsageError: a number is NaN or infinite, or a value has no canonical form.
    """
    if value is None or type(value) in _PLAIN:  # almost all that is hashed, found at once
        return value
    if isinstance(value, Enum):
        return plain(value.value, where)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        if not math.isfinite(number):
            raise UsageError(
                f"{where or 'value'} is {number}, which has no place in an identity or a "
                "manifest; expected a finite number, or null where there is none."
            )
        return number
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), _join(where, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(
                    f"{where or 'mapping'} has the key {key!r} of type {type(key).__name__}; "
                    "expected text keys."
                )
        return {str(key): plain(item, _join(where, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise UsageError(
        f"{where or 'value'} is of type {type(value).__name__}, which has no canonical form; "
        "expected text, numbers, paths, lists, mappings or dataclasses of those."
    )


def canonical_json(value: Any) -> str:
    """Return the one text that stands for `value`; see the module's docstring.

    Raises:
        UsageError: as `plain`.

    >>> canonical_json({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity_hash(kind: str, name: str, identity: Mapping[str, Any]) -> str:
    """Return the sha256 (64 hexadecimal digits) over kind, name and identity."""
    text = canonical_json({"kind": kind, "name": name, "identity": identity})
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def folder_name(kind: str, name: str, identity: Mapping[str, Any]) -> str:
    """Return `<name>-<first 12 digits of the identity hash>`.

    Raises:
        UsageError: kind or name could not be a folder's name, or as `plain`.
    """
    return folder_of(kind, name, identity_hash(kind, name, identity))


def folder_of(kind: str, name: str, digest: str) -> str:
    """As `folder_name`, of the hash that `identity_hash` returned."""
    for what, text in (("kind", kind), ("name", name)):
        if not _NAME.fullmatch(text):
            raise UsageError(
                f"artifact {what} {text!r} cannot name a folder; expected 1 to 120 letters, "
                "digits or . _ + = -, the first a letter or a digit."
            )
    return f"{name}-{digest[:HASH_LENGTH]}"


def artifact_id(kind: str, name: str, identity: Mapping[str, Any]) -> str:
    """Return `<kind>/<name>-<hash12>`: unique in a store, and the path relative to its root."""
    return f"{kind}/{folder_name(kind, name, identity)}"


def diff_identity(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line per difference, such as `"lr: 1e-5 -> 2e-5"`, sorted by key.

    Long hashes are shortened to 12 digits; a key on one side only reads `(absent)` on the other.
    """
    before, after = dict(_leaves(plain(old))), dict(_leaves(plain(new)))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key, _ABSENT), after.get(key, _ABSENT)
        if _same(a, b):
            continue
        note = " (a source definition changed)" if key.endswith("source_sha256") else ""
        lines.append(f"{key}: {_shown(a)} -> {_shown(b)}{note}")
    return lines


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, _join(where, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{where}[{index}]")
    else:
        yield where, value


def _same(a: Any, b: Any) -> bool:
    """Equality as the hash sees it: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    return type(a) is type(b) and repr(a) == repr(b)


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    if isinstance(value, float):
        return re.sub(r"e([+-])0(\d)$", r"e\1\2", repr(value))
    if isinstance(value, str):
        text = value[:HASH_LENGTH] if _HEXADECIMAL.fullmatch(value) else value
        return text if len(text) <= 60 else f"{text[:57]}..."
    return json.dumps(value)
