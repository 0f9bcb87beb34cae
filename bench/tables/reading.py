"""Reading YAML into dataclasses: unknown and missing keys are errors with a suggestion."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from bench.api.errors import PrerequisiteError, UsageError, did_you_mean

T = TypeVar("T")

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping a YAML file holds.

    Raises:
        UsageError: the file is missing, is no YAML, repeats a key, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from None
    return mapping(data, str(path))


def line_of(path: Path, place: Sequence[str | int]) -> int:
    """Return the line, from 1, on which what the keys and list positions lead to begins.

    Where they lead past what the file holds, it is the line of the last part that is there.
    """
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    line = 1 if node is None else node.start_mark.line + 1
    for key in place:
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == key), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key] if key < len(node.value) else None
        else:
            node = None
        if node is None:
            break
        line = node.start_mark.line + 1
    return line


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, refusing a key that occurs twice (the last would win silently)."""


def _construct_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} occurs twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeys.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
# YAML 1.1 takes yes, no, on and off for booleans (a precision is named "no") ...
_UniqueKeys.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|false|False)$"), list("tTfF")
)
# ... and 1e-5 for text; everybody means the number.
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def mapping(data: Any, where: str) -> dict[str, Any]:
    """Return `data`, which must be a mapping with text keys (UsageError otherwise)."""
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise UsageError(f"{where} holds {_kind(data)}; expected a mapping with text keys.")
    return dict(data)


def sequence(data: Any, where: str) -> list[Any]:
    """Return `data`, which must be a list (UsageError otherwise)."""
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise UsageError(f"{where} holds {_kind(data)}; expected a list.")
    return list(data)


def construct(cls: type[T], data: Any, where: str, /, **given: Any) -> T:
    """Return `cls(**given, **data)` for a dataclass, after checking the keys.

    Args:
        cls: a dataclass.
        data: a mapping of its remaining fields.
        where: what is read, for messages.
        given: fields that were already made.

    Raises:
        UsageError: a key is unknown (the nearest is named), a required one is missing, or the
            class refuses the values.
    """
    found = mapping({} if data is None else data, where)
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    for key in found:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}.{did_you_mean(key, known)}")
    values = {**found, **given}
    missing = [
        name
        for name, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and name not in values
    ]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}.")
    try:
        return cls(**values)
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from None


def expand(value: Any, where: str) -> Any:
    """Return `value` with `${NAME}` in its texts replaced from the environment.

    Raises:
        PrerequisiteError: a variable is not set.
    """
    if isinstance(value, Mapping):
        return {key: expand(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item, where) for item in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            raise PrerequisiteError(
                f"{where} lies in a place named by the variable {name}, which is not set",
                fix=f"export {name}=/path/to/it",
            )
    return _VARIABLE.sub(lambda match: os.environ[match.group(1)], value)


def override(data: dict[str, Any], assignment: str) -> None:
    """Change one value of a nested mapping in place: `"a.b.c=YAML value"`.

    New keys may be added at any depth: whether they mean something is checked by the reader of
    the mapping, which names the nearest known ones.

    Raises:
        UsageError: the assignment has no `=`, or leads through something that is no mapping.
    """
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {assignment!r}; expected KEY.KEY=VALUE, e.g. generation.steps=4")
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {assignment!r}: {text!r} is not valid YAML: {error}") from None
    here = data
    for key in keys[:-1]:
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise UsageError(f"--set {assignment!r}: {key} is {here!r}, not a mapping.")
    here[keys[-1]] = value


def _kind(data: Any) -> str:
    return "nothing" if data is None else f"a {type(data).__name__}"
