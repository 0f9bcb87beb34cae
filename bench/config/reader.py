"""Data into dataclasses, recursively, by their type hints.

A dataclass that reads its own shorthand defines `from_config(data, where)`; everything else
follows from the annotations: nested dataclasses, tuples, mappings, options, numbers, texts.
A whole number where a float belongs is taken; a text where a number belongs never is.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bench.api.errors import UsageError, did_you_mean
from bench.config.files import kind_of, mapping, place_of, sequence

T = TypeVar("T")

_MAPPINGS = (dict, Mapping)
_LISTS = (tuple, list, Sequence)
_HOLDING = (*_MAPPINGS, *_LISTS)
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def read(cls: type[T], data: Any, where: str, /, **given: Any) -> T:
    """Return `cls` with its fields read from `data`, nested ones too.

    Args:
        cls: a dataclass.
        data: a mapping of its fields; None stands for an empty one.
        where: what is read, for messages.
        given: fields that were already made.

    Raises:
        UsageError: a key is unknown (the nearest is named), a required one is missing, a value is
            of another type, or the class refuses it; with file and line where the data has them.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    found = mapping({} if data is None else data, where)
    _refuse_unknown(cls, found, where)
    values = {
        key: _value(hints[key], value, f"{where}.{key}", place_of(data, key))
        for key, value in found.items()
    }
    return construct(cls, values, where, **given)


def construct(cls: type[T], data: Any, where: str, /, **given: Any) -> T:
    """Return `cls(**given, **data)` for a dataclass whose values are made, checking the keys.

    Raises:
        UsageError: as `read`; of types what `require_kinds` says.
    """
    found = mapping({} if data is None else data, where)
    _refuse_unknown(cls, found, where)
    values = {**found, **given}
    missing = [
        f.name
        for f in fields(cls)  # type: ignore[arg-type]
        if f.init and f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    if missing:
        lacks = "lack" if where.endswith("settings") else "lacks"
        raise UsageError(f"{where} {lacks} {', '.join(missing)}{place_of(data)}.")
    require_kinds(cls, found, where)
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None


def require_kinds(cls: type, data: Mapping[str, Any], where: str) -> None:
    """Make sure that values are of the kind that a dataclass has: nothing where it may be nothing,
    texts, numbers (whole ones where it counts), mappings and lists.

    Python counts with true and false as 1 and 0, takes half a step for a number of steps, and says
    of nothing in place of a name only what it cannot do with it.

    Raises:
        UsageError: naming the setting, with file and line where the data has them.
    """
    try:
        hints = _hints(cls)
    except Exception:  # a plug-in's, of names that are there for a type checker alone
        return
    for key, value in data.items():
        _require_kind(hints.get(key, Any), value, f"{where}.{key}", place_of(data, key))


def _require_kind(hint: Any, value: Any, where: str, place: str) -> None:
    origin, parts = get_origin(hint), get_args(hint)
    taken = parts if origin in (Union, types.UnionType) else (hint,)
    if Any in taken or object in taken or type(value) in taken:
        if isinstance(value, float) and math.isnan(value):
            raise UsageError(f"{where} is {value!r}{place}; expected a number.")
    elif value is None:
        if type(None) not in taken and all(_is_plain(part) for part in taken):
            raise UsageError(f"{where} holds nothing{place}; expected {_in_words(taken[0])}.")
    elif isinstance(value, bool | int | float | str):
        plain = next((part for part in (float, int, str, bool) if part in taken), None)
        if plain is not None:
            _plain(plain, value, where, place)
        elif all(get_origin(part) in _HOLDING or part is type(None) for part in taken):
            raise UsageError(
                f"{where} is {value!r} ({kind_of(value)}){place}; expected {_in_words(taken[0])}."
            )
    elif origin in _MAPPINGS and isinstance(value, Mapping):
        for key, item in value.items():
            _require_kind(parts[1], item, f"{where}.{key}", place_of(value, key) or place)
    elif origin in _LISTS and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_kind(parts[0], item, f"{where}[{index}]", place)
    elif isinstance(value, list | tuple | Mapping) and all(_is_plain(part) for part in taken):
        right = _MAPPINGS if isinstance(value, Mapping) else _LISTS
        if not any(get_origin(part) in right for part in taken):
            raise UsageError(
                f"{where} holds {kind_of(value)}{place}; expected {_in_words(taken[0])}."
            )


def _is_plain(hint: Any) -> bool:
    """Whether a hint is one of those that YAML has."""
    return hint in (str, int, float, bool, type(None)) or get_origin(hint) in _HOLDING


def _in_words(hint: Any) -> str:
    if get_origin(hint) in _MAPPINGS:
        return "keys and values"
    return "a list" if get_origin(hint) in _LISTS else _KINDS.get(hint, str(hint))


def _refuse_unknown(cls: type, found: Mapping[str, Any], where: str) -> None:
    known = [f.name for f in fields(cls) if f.init]
    for key in found:
        if key not in known:
            hint = did_you_mean(key, known)
            raise UsageError(f"{where}: unknown key {key!r}{place_of(found, key)}.{hint}")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, value: Any, where: str, place: str) -> Any:
    """Return one value as its annotation says."""
    if hint is Any or (isinstance(hint, type) and isinstance(value, hint) and hint is not int):
        return value
    own: Callable[[Any, str], Any] | None = getattr(hint, "from_config", None)
    if own is not None:
        return own(value, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return read(hint, value, where)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, where, place)
    if origin is Literal:
        if any(value == part and type(value) is type(part) for part in parts):
            return value
        hint_text = did_you_mean(str(value), [str(part) for part in parts])
        raise UsageError(f"{where} is {value!r}{place}.{hint_text}")
    if origin in _LISTS:
        items = sequence(value, f"{where}{place}")
        read_items = [_value(parts[0], v, f"{where}[{i}]", place) for i, v in enumerate(items)]
        return read_items if origin is list else tuple(read_items)
    if origin in _MAPPINGS:
        return {
            key: _value(parts[1], item, f"{where}.{key}", place_of(value, key))
            for key, item in mapping(value, f"{where}{place}").items()
        }
    return _plain(hint, value, where, place)


def _one_of(parts: tuple[Any, ...], value: Any, where: str, place: str) -> Any:
    """Return the value as the first alternative that takes it; None only where it is one."""
    if value is None and type(None) in parts:
        return None
    wanted = [part for part in parts if part is not type(None)]
    for part in wanted:
        if isinstance(part, type) and isinstance(value, part) and not isinstance(value, bool):
            return value
    errors = []
    for part in wanted:
        try:
            return _value(part, value, where, place)
        except UsageError as error:
            errors.append(error)
    raise errors[0]


def _plain(hint: Any, value: Any, where: str, place: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        return value
    if hint is int and number and isinstance(value, int):
        return value
    if isinstance(hint, type) and hint not in (int, float) and isinstance(value, hint):
        return value
    wanted = _KINDS.get(hint, getattr(hint, "__name__", str(hint)))
    raise UsageError(f"{where} is {value!r} ({kind_of(value)}){place}; expected {wanted}.")
