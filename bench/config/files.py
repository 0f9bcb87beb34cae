"""YAML files as plain data that remembers its lines; numbers are those of YAML 1.2.

Refused are keys given twice, tags that YAML itself does not define, and numbers that its versions
read differently.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from bench.api.errors import UsageError
from bench.read.text import MissingFileError, read_text

MOST_NODES = 1_000_000
"""Values of a YAML file, those that aliases repeat counted each time."""


MOST_LEVELS = 200
"""Brackets inside each other."""
_BRACKETS = re.compile(r"[\[\]{}]")
_COMPACT = re.compile(r"(?:[-?] +){200}")  # lists in lists on one line


class Located(dict[str, Any]):
    """A mapping of one or more YAML files, for messages that name file and line.

    Attributes:
        places: of its keys, file and line.
        blank: keys that nothing follows, which YAML does not tell from those with `null`.
    """

    places: Mapping[str, tuple[str, int]] = MappingProxyType({})  # of a copy that was told none
    blank: frozenset[str] = frozenset()

    @classmethod
    def like(cls, other: Located, data: Mapping[str, Any]) -> Located:
        """Return data that stands where `other` does."""
        found = cls(data)
        found.places, found.blank = other.places, other.blank
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> Located:
        return Located.like(self, {k: copy.deepcopy(v, memo) for k, v in self.items()})

    def place(self, key: str) -> str:
        """Return `file:line` of a key, or of the mapping's first line."""
        file, line = self.places.get(key) or min(self.places.values(), default=("", 1))
        return f"{file}:{line}"


def place_of(data: Any, key: str = "") -> str:
    """Return ` (file:line)` of a key in data that came from a file, else nothing."""
    return f" ({data.place(key)})" if isinstance(data, Located) and data.places else ""


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping a YAML file holds.

    Raises:
        UsageError: the file is missing, is no YAML, repeats a key, or holds no mapping.
    """
    try:
        data = parse_yaml(read_text(path), str(path))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from None
    except MissingFileError as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    return mapping(data, str(path))


def parse_yaml(text: str, file: str = "") -> Any:
    """Return what a YAML text holds, its mappings as `Located` (yaml.YAMLError otherwise)."""
    if _FAST is not None and not _deep(text):  # libyaml would go down without end
        try:
            return _parsed(_FAST, text, file)
        except (yaml.YAMLError, UnicodeEncodeError):
            pass  # said below, with file and line
    return _parsed(_UniqueKeys, text, file)


def _parsed(loader_class: Any, text: str, file: str) -> Any:
    loader = loader_class(text)
    loader.name = file
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_bounded(node)
        return loader.construct_document(node)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    finally:
        loader.dispose()


def _deep(text: str) -> bool:
    """Whether a text may be nested more deeply than is read; quoted brackets count, too."""
    if _COMPACT.search(text):
        return True
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_LEVELS:
            return True
    return False


def _require_bounded(root: yaml.Node) -> None:
    """Refuse a text whose aliases make more of it than anybody wrote, or lead in a circle."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key in open_nodes:
            raise yaml.YAMLError(f"an alias leads in a circle{node.start_mark}")
        if key not in sizes:
            open_nodes.add(key)
            inside: list[yaml.Node] = []
            if isinstance(node, yaml.MappingNode):
                inside = [part for pair in node.value for part in pair]
            elif isinstance(node, yaml.SequenceNode):
                inside = node.value
            sizes[key] = 1 + sum(size(part) for part in inside)
            open_nodes.discard(key)
        return sizes[key]

    found = size(root)
    if found > MOST_NODES:
        raise yaml.YAMLError(f"its aliases stand for {found:,} values; {MOST_NODES:,} at most")


_CHOOSES = ("function", "kind")
"""Keys that say what the other keys of their mapping are settings of."""


class _UniqueKeys(yaml.SafeLoader):
    """The safe loader, refusing a key that occurs twice (the last would win silently)."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """Join the halves of characters, as JSON writes them, and refuse a half alone."""
        text: str = super().construct_scalar(node)
        if not any("\ud800" <= character <= "\udfff" for character in text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise yaml.YAMLError(f"half of a character{node.start_mark}") from None

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Refuse brackets in brackets without end: PyYAML takes the square of their number."""
        if self.flow_level > MOST_LEVELS:
            raise yaml.YAMLError(f"more than {MOST_LEVELS} brackets inside each other")
        super().fetch_flow_collection_start(token)


def _construct_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> Located:
    lines: dict[Any, int] = {}
    blank = set()
    for key_node, value_node in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in lines:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} occurs twice", key_node.start_mark
            )
        lines[key] = key_node.start_mark.line + 1
        if value_node.value == "":
            blank.add(key)
    loader.flatten_mapping(node)
    found = Located(loader.construct_pairs(node, deep=True))
    found.places = {key: (str(loader.name), line) for key, line in lines.items()}
    found.blank = frozenset(blank)
    return found


_UniqueKeys.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def _refuse_number(loader: _UniqueKeys, node: yaml.ScalarNode) -> None:
    """Refuse what YAML 1.1 and 1.2 read as unlike numbers, or one of them as text."""
    text = str(node.value)
    plain = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", text.replace("_", ""))
    decimal = plain if re.fullmatch(r"[-+]?[0-9.]+", plain) else "a decimal number"
    raise yaml.constructor.ConstructorError(
        None,
        None,
        f"{text} is one number to YAML 1.1 and another or text to YAML 1.2; write {decimal}, or "
        f"'{text}' in quotes if it is text",
        node.start_mark,
    )


_NUMBERS = {
    # of YAML 1.1: octal by a zero in front, base 60 by colons, digits in groups, binary
    "!ambiguous-number": r"[-+]?(?:0[0-9_]+|0b[01_]+|0x[0-9a-fA-F_]*_[0-9a-fA-F_]*"
    r"|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|(?=[0-9_.]*[0-9]_|[0-9]+\._)[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9]+_[0-9_]*)$",
    "tag:yaml.org,2002:int": r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    "tag:yaml.org,2002:float": r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
}
"""Plain values that are numbers, as YAML 1.2 (core schema) has them; PyYAML's are of YAML 1.1."""
# YAML 1.1 takes yes, no, on and off for booleans, too (a precision is named "no")
_OWN = {*_NUMBERS, "tag:yaml.org,2002:bool"}
_UniqueKeys.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_UniqueKeys.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|false|False)$"), list("tTfF")
)
for _tag, _pattern in _NUMBERS.items():
    _UniqueKeys.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))
_UniqueKeys.add_constructor("!ambiguous-number", _refuse_number)


def _by_libyaml() -> Any:
    """Return the same loader on libyaml's parser, six times as fast, where PyYAML has it."""
    base = getattr(yaml, "CSafeLoader", None)
    if base is None:
        return None
    found = type("_FastUniqueKeys", (base,), {})
    found.yaml_constructors = _UniqueKeys.yaml_constructors  # type: ignore[attr-defined]
    found.yaml_implicit_resolvers = _UniqueKeys.yaml_implicit_resolvers  # type: ignore[attr-defined]
    return found


_FAST = _by_libyaml()


def mapping(data: Any, where: str) -> dict[str, Any]:
    """Return a copy of `data`, which must be a mapping with text keys (UsageError otherwise)."""
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise UsageError(f"{where} holds {kind_of(data)}; expected a mapping with text keys.")
    return Located.like(data, data) if isinstance(data, Located) else dict(data)


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with `changes`; where both have a mapping, its keys are merged.

    A mapping whose `function` or `kind` becomes another one is replaced whole: its other keys are
    settings of what it was.
    """
    if any(changes.get(key, data.get(key)) != data.get(key) for key in _CHOOSES):
        return copy.deepcopy(mapping(changes, "changes"))
    found = mapping(data, "data")
    for key in {**found, **changes}:
        before, value = found.get(key), changes.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = merged(before, value)
        else:
            found[key] = copy.deepcopy(value if key in changes else before)
    if isinstance(found, Located) and isinstance(changes, Located):
        found.places = {**found.places, **changes.places}
    return found


def sequence(data: Any, where: str) -> list[Any]:
    """Return `data`, which must be a list (UsageError otherwise)."""
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise UsageError(f"{where} holds {kind_of(data)}; expected a list.")
    return list(data)


def kind_of(data: Any) -> str:
    """Return what a value is, in words."""
    return "nothing" if data is None else f"a {type(data).__name__}"


def line_of(path: Path, place: Sequence[str | int]) -> int:
    """Return the line, from 1, on which what the keys and list positions lead to begins.

    Where they lead past what the file holds, it is the line of the last part that is there.
    """
    node = yaml.compose(read_text(path), Loader=_UniqueKeys)
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
