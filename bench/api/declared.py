"""What a plug-in's class says of itself, read from its source: nothing of it is imported or run."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.registry import Entry
from bench.read.text import read_text

VERIFIED = ("rules", "random-weights", "real-weights")
"""How far a back-end was checked against the original implementation, weakest first."""

_DEEPEST = 8


def declared(entry: Entry, name: str) -> Any:
    """Return the value of a class attribute, the class's own or inherited.

    Constants are followed to where they are defined. None where the attribute is missing, is no
    constant, or the source cannot be read: to list is not the place to complain of it.
    """
    try:
        node, module = _attribute(entry.module, entry.attribute, name, 0)
        return _value(node, module, 0)
    except _UnreadableError:
        return None


def roles_of(entry: Entry) -> tuple[str, ...]:
    """Return the back-end roles in an evaluator's card, `spec`; empty where it cannot be read."""
    try:
        return tuple(_of_card(entry.module, entry.attribute, "backends", 0))
    except _UnreadableError:
        return ()


def verified_of(entry: Entry, evaluator: str | None = None) -> str | None:
    """Return which of `VERIFIED` a back-end states, of what an evaluator reads where one is named.

    None where it cannot be read.
    """
    by_evaluator = declared(entry, "verified_for") or {}
    word = by_evaluator.get(evaluator) or declared(entry, "verified")
    return word if word in VERIFIED else None


def summary_of(entry: Entry) -> str | None:
    """Return the first line of the class's docstring, read from the source text; None without one.

    An unreadable source gives None as well: to list is not the place to complain of it.
    """
    tree = _parsed(entry.module)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.ClassDef) and node.name == entry.attribute:
            text = ast.get_docstring(node)
            return text.strip().splitlines()[0] if text else None
    return None


@lru_cache
def _parsed(module: str) -> ast.Module | None:
    """Return a module's syntax tree; None where its source cannot be read."""
    try:
        spec = importlib.util.find_spec(module)
        file = spec.origin if spec is not None and spec.has_location else None
        return None if file is None else ast.parse(read_text(Path(file)))
    except (ImportError, OSError, SyntaxError, ValueError):
        return None


class _UnreadableError(Exception):
    """What was looked for cannot be told from the source."""


def _attribute(module: str, class_name: str, name: str, depth: int) -> tuple[ast.expr, str]:
    """Return the expression of a class attribute and the module it stands in."""
    for node in _body(module, depth):
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            own = _assigned(node.body, name)
            if own is not None:
                return own, module
            for base in node.bases:
                inner = base.value if isinstance(base, ast.Subscript) else base
                if isinstance(inner, ast.Name):
                    try:
                        return _attribute(module, inner.id, name, depth + 1)
                    except _UnreadableError:
                        continue
    for other, original in _imported(module, class_name, depth):
        return _attribute(other, original, name, depth + 1)
    raise _UnreadableError(class_name)


def _of_card(module: str, class_name: str, field: str, depth: int) -> Any:
    """Return a field of an evaluator's card, the call its `spec` is assigned."""
    node, where = _attribute(module, class_name, "spec", depth)
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        if keyword.arg == field:
            return _value(keyword.value, where, depth + 1)
    raise _UnreadableError(field)


def _value(node: ast.expr, module: str, depth: int) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [_value(key, module, depth) for key in node.keys if key is not None]
        return dict(zip(keys, (_value(v, module, depth) for v in node.values), strict=True))
    if isinstance(node, ast.Tuple | ast.List):
        parts: list[Any] = []
        for part in node.elts:
            if isinstance(part, ast.Starred):
                parts += _value(part.value, module, depth)
            else:
                parts.append(_value(part, module, depth))
        return tuple(parts)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
        card = node.value  # Other.spec.backends
        if card.attr == "spec" and isinstance(card.value, ast.Name):
            return _of_card(module, card.value.id, node.attr, depth + 1)
    if isinstance(node, ast.Name):
        found = _assigned(_body(module, depth), node.id)
        if found is not None:
            return _value(found, module, depth + 1)
        for other, original in _imported(module, node.id, depth):
            return _value(ast.Name(id=original), other, depth + 1)
    raise _UnreadableError(ast.dump(node))


def _assigned(body: list[ast.stmt], name: str) -> ast.expr | None:
    for node in body:
        if isinstance(node, ast.AnnAssign):
            targets: list[ast.expr] = [node.target]
        elif isinstance(node, ast.Assign):
            targets = node.targets
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                return node.value
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name) and one.id == name:
                        return value
    return None


def _imported(module: str, name: str, depth: int) -> Iterator[tuple[str, str]]:
    for node in _body(module, depth):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield node.module, alias.name


def _body(module: str, depth: int) -> list[ast.stmt]:
    tree = _parsed(module) if depth <= _DEEPEST else None
    if tree is None:
        raise _UnreadableError(module)
    return tree.body
