"""What a YAML file may name: code that somebody registered, unless the user trusts the file.

To read a file must not run what its author likes: `suite: {function: "os:system"}` is refused
before anything is imported. Registered are the shipped plug-ins and the entry points of installed
packages; what the user types on the command line (`--method`, `--set`) is the user's own word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError
from bench.api.registry import BACKENDS, EVALUATORS, METHODS, SUITES, Registry
from bench.config.files import place_of

RENDERERS = ("bench.tiny.truth",)
"""Modules that render true scenes of prompts."""

_PLUGINS: Mapping[str, Registry[Any]] = {
    "function": SUITES,
    "evaluator": EVALUATORS,
    "method": METHODS,
}
"""Keys whose text is a plug-in."""

_NAMED = ("backends", "evaluator_backends")
"""Keys of mappings, perhaps nested, whose texts are back-ends."""

_CHOSEN = ("judge", "saliency")
"""Keys of mappings whose `name` is that of a plug-in."""


def require_registered(data: Mapping[str, Any], file: Path) -> None:
    """Refuse a file that names code which nobody registered.

    Args:
        data: what it holds.
        file: for the message.

    Raises:
        UsageError: it does; file, line and key are named.
    """
    for keys, value, place in _texts(data, (), f" ({file})"):
        if not _allowed(keys, value):
            raise UsageError(
                f"{'.'.join(keys)} names {value!r}{place}, which no package registered: reading "
                "the file would run it. Say --trust if you know what it does, or register it as "
                "an entry point of an installed package."
            )


def _allowed(keys: tuple[str, ...], value: str) -> bool:
    last = keys[-1]
    if last == "renderer":
        return value in RENDERERS
    if last in _PLUGINS:
        return _PLUGINS[last].known(value)
    if any(key in _NAMED for key in keys[:-1]):
        return BACKENDS.known(value)
    chosen = last == "name" and len(keys) > 1 and keys[-2] in _CHOSEN
    return not (chosen and ":" in value)


def _texts(
    value: Any, keys: tuple[str, ...], place: str
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield every text with the keys that lead to it; `a.b: c` leads as `a: {b: c}` does."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = place_of(value, str(key)) or place
            yield from _texts(item, (*keys, *str(key).split(".")), inner)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, keys, place)
    elif isinstance(value, str) and keys:
        yield keys, value, place
