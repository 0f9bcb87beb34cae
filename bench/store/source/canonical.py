"""One text for one meaning: a module's statements without comments, docstrings, layout and imports.

The text is made of the syntax tree by the table below, so it is the same under every version of
Python: fields that a version added are written only where they are used, and formatted strings,
which versions cut differently, are joined first. A name is not written but kept as a `Ref`, for
what it means is found out later, in `bench.store.source.reach`.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from bench.store.source.grammar import (
    FIELDS,
    NEVER_WRITTEN,
    Import,
    Own,
    Part,
    Ref,
    chain_of,
    imported,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a statement says of itself.

    Attributes:
        parts: the text, with names in it that are yet to be resolved.
        binds: the names it gives to the module.
        imports: what it imports, wherever in it.
        runs: names called, or used as decorators, when the module is imported.
        effect: whether importing the module does more than bind names, as far as its form tells.
        strings, words: texts, and names and attributes (with a dot before them), that occur in it.
        docs: its docstrings.
        globals: names of the module that functions in it give a value to.
        dynamic: whether it imports what its text does not name.
    """

    parts: tuple[Part, ...]
    binds: tuple[str, ...]
    imports: tuple[Import, ...]
    runs: tuple[Ref, ...]
    effect: bool
    strings: tuple[str, ...]
    words: frozenset[str]
    docs: tuple[str, ...]
    globals: frozenset[str]
    dynamic: bool


class Unit:
    """A statement of a module.

    Attributes:
        kind: `"def"`, `"class"` or `"statement"`.
        shallow: its facts without the bodies of functions, which do not run on import.
        keywords, bases: of a class: whether it has keywords beside its bases, and these.
        defines: the functions in a class's body.
    """

    def __init__(self, node: ast.stmt) -> None:
        self._node = node
        self.kind = "def" if isinstance(node, _FUNCTIONS) else "statement"
        self.shallow = _Writer(shallow=True).facts(node)
        self.keywords = False
        self.bases: tuple[Ref, ...] = ()
        self.defines: frozenset[str] = frozenset()
        if isinstance(node, ast.ClassDef):
            self.kind = "class"
            self.keywords = bool(node.keywords)
            bases = [chain_of(_unsubscripted(base)) for base in node.bases]
            self.bases = tuple(base for base in bases if base is not None)
            inner = (one for one in node.body if isinstance(one, _FUNCTIONS))
            self.defines = frozenset(one.name for one in inner)

    @cached_property
    def full(self) -> Facts:
        """Its facts."""
        return _Writer(shallow=False).facts(self._node)

    def without(self, methods: frozenset[str]) -> Facts:
        """Return its facts; of a class, without the methods of these names."""
        if not isinstance(self._node, ast.ClassDef) or methods.isdisjoint(self.defines):
            return self.full
        node = copy.copy(self._node)
        node.body = [
            one for one in node.body if not (isinstance(one, _FUNCTIONS) and one.name in methods)
        ]
        return _Writer(shallow=False).facts(node)


_BRANCHES = (ast.If, ast.Try, ast.TryStar, ast.For, ast.While, ast.Match, ast.AsyncFor)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_BY_NAME = ("import_module", "__import__", "import_target")
_IMPORTERS = (
    *_BY_NAME,
    "SourceFileLoader",
    "exec_module",
    "locate",
    "resolve_name",
    "run_module",
    "run_path",
    "spec_from_file_location",
)


def units_of(tree: ast.Module) -> tuple[tuple[Unit, ...], tuple[Import, ...]]:
    """Return the statements of a module, but for plain imports, and what those import."""
    units, imports = [], []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports += list(imported(statement))
        elif not _says_nothing(statement):
            units.append(Unit(statement))
    return tuple(units), tuple(imports)


def _says_nothing(node: ast.stmt) -> bool:
    """Whether a statement is `pass` or a constant: a docstring, or an ellipsis."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _says_something(part: ast.expr) -> bool:
    return not isinstance(part, ast.Constant) or bool(part.value)


@dataclass(kw_only=True)
class _Writer:
    """Writes one statement; `functions`, `classes` and `branches` say how deep inside it is."""

    shallow: bool
    parts: list[Part] = field(default_factory=list)
    binds: list[str] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    runs: list[Ref] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    docs: list[str] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    effect: bool = False
    dynamic: bool = False
    functions: int = 0
    classes: int = 0
    branches: int = 0

    def facts(self, node: ast.stmt) -> Facts:
        self.write(node)
        return Facts(
            parts=tuple(_joined(self.parts)),
            binds=tuple(dict.fromkeys(self.binds)),
            imports=tuple(self.imports),
            runs=tuple(dict.fromkeys(self.runs)),
            effect=self.effect,
            strings=tuple(dict.fromkeys(self.strings)),
            words=frozenset(self.words),
            docs=tuple(self.docs),
            globals=frozenset(self.globals),
            dynamic=self.dynamic,
        )

    def write(self, value: object) -> None:
        """Write a node, a list, or a plain value of a field."""
        if isinstance(value, list):
            self.parts.append("[")
            for item in value:
                self.write(item)
            self.parts.append("]")
        elif isinstance(value, ast.Constant):
            self._constant(value.value)
        elif isinstance(value, ast.AST):
            self._node(value)
        else:  # an identifier, a number, or nothing
            self.parts.append(f"{value!a};")

    def _constant(self, value: object) -> None:
        if isinstance(value, str):
            self.strings.append(value)
            if value.startswith("__"):  # for getattr
                self.words |= {value, f".{value}"}
            self.parts.append(json.dumps(value))
        elif isinstance(value, bytes):
            self.parts.append(f"b{value.hex()};")
        elif type(value) is int:
            self.parts.append(f"{value:#x};")  # repr refuses very long ones
        else:  # True, False, None, ..., floating-point and complex numbers
            self.parts.append(f"{value!r};")

    def _node(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name | ast.Attribute):
            self._name(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node)
        elif isinstance(node, _DEFINITIONS):
            self._definition(node)
        elif isinstance(node, ast.Lambda):
            self.functions += 1
            self._plain(node)
            self.functions -= 1
        elif isinstance(node, ast.JoinedStr):
            self._formatted(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Global):
            self.globals += node.names
            self._plain(node)
        else:
            self._statement(node)

    def _statement(self, node: ast.AST) -> None:
        at_import = not self.functions
        if at_import:
            self.effect |= isinstance(node, ast.Expr | ast.Delete | ast.Assert | ast.Raise)
            self.effect |= isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
        if isinstance(node, ast.ExceptHandler) and node.name and at_import and not self.classes:
            self.binds.append(node.name)
        if isinstance(node, ast.If) and _never_true(node.test):
            for statement in ast.walk(ast.Module(node.body, [])):
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    self.imports += list(imported(statement))
            self.parts.append("If-not")
            self._body(node.orelse)
            return
        self.branches += isinstance(node, _BRANCHES)
        self._plain(node)
        self.branches -= isinstance(node, _BRANCHES)

    def _plain(self, node: ast.AST) -> None:
        """Write a node by the table; where its kind is not in it, all fields but silent ones."""
        kind = type(node).__name__
        self.parts.append(f"({kind}")
        for name in FIELDS.get(kind, tuple(f for f in node._fields if f not in NEVER_WRITTEN)):
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                self._body(value)
            else:
                self.write(value)
        if parameters := getattr(node, "type_params", None):
            self.write(parameters)
        self.parts.append(")")

    def _body(self, statements: list[ast.stmt]) -> None:
        self.parts.append("{")
        for statement in statements:
            if not _says_nothing(statement):
                self.write(statement)
            elif (text := ast.get_docstring(ast.Module([statement], []), clean=False)) is not None:
                self.docs.append(text)
        self.parts.append("}")

    def _name(self, node: ast.Name | ast.Attribute) -> None:
        stored = isinstance(node.ctx, ast.Store | ast.Del)
        chain = chain_of(node)
        if isinstance(node, ast.Attribute):
            self.effect |= stored and not self.functions
            self.words.add(f".{node.attr}")
            if chain is None:
                self._plain(node)
                return
        elif stored and not self.functions and not self.classes:
            self.binds.append(node.id)
        assert chain is not None
        self.words |= {chain.name, *(f".{one}" for one in chain.attributes)}
        self.parts.append(chain)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        found = list(imported(node))
        self.imports += found
        in_class = self.classes and not self.functions
        if self.branches or in_class:  # which one is taken, or an attribute, is part of the meaning
            self.parts += ["(Import", *found, ")"]
            if not self.functions and not self.classes:
                self.binds += [one.bound for one in found if one.bound]

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        if not self.functions:
            self.runs += [c for d in node.decorator_list if (c := chain_of(d)) is not None]
            if not self.classes:
                self.binds.append(node.name)
        outermost = not self.functions and not self.classes and not self.branches
        self.parts += [f"({type(node).__name__}", Own(node.name) if outermost else node.name]
        for name in FIELDS[type(node).__name__]:
            if name != "body":
                self.write(getattr(node, name))
        if parameters := getattr(node, "type_params", None):
            self.write(parameters)
        is_class = isinstance(node, ast.ClassDef)
        self.classes += is_class
        self.functions += not is_class
        branches, self.branches = self.branches, 0 if not is_class else self.branches
        if is_class or not self.shallow:
            self._body(node.body)
        self.branches = branches
        self.classes -= is_class
        self.functions -= not is_class
        self.parts.append(")")

    def _call(self, node: ast.Call) -> None:
        called = chain_of(node.func)
        if not self.functions and called is not None:
            self.runs.append(called)
        self._plain(node)
        last = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        last = called.name if called is not None and not called.attributes else last
        if last not in _IMPORTERS:
            return
        named = node.args[0] if node.args else None
        text = named.value if isinstance(named, ast.Constant) else None
        if last in _BY_NAME and isinstance(text, str) and text.strip("."):
            text = text.partition(":")[0]
            level = len(text) - len(text.lstrip("."))
            found = Import("", text.lstrip("."), level)
            self.imports.append(found)
            self.parts.append(found)
        else:
            self.dynamic = True

    def _formatted(self, node: ast.JoinedStr) -> None:
        """Write a formatted string: constants beside each other joined, empty ones left out."""
        self.parts.append("(JoinedStr[")
        text = ""
        for value in node.values:
            if isinstance(value, ast.Constant):
                text += str(value.value)
                continue
            if text:
                self._constant(text)
            text = ""
            assert isinstance(value, ast.FormattedValue)
            self.parts.append(f"({value.conversion}")
            self.write(value.value)
            spec = value.format_spec
            if isinstance(spec, ast.JoinedStr) and any(map(_says_something, spec.values)):
                self.write(spec)
            self.parts.append(")")
        if text:
            self._constant(text)
        self.parts.append("])")


def _unsubscripted(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node


def _never_true(test: ast.expr) -> bool:
    """Whether it is `TYPE_CHECKING`: what stands beneath is never run."""
    chain = chain_of(test)
    return chain is not None and (*chain.attributes, chain.name)[0] == "TYPE_CHECKING"


def _joined(parts: list[Part]) -> Iterator[Part]:
    """Yield the parts with neighbouring texts made one."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        text = ""
        yield part
    if text:
        yield text
