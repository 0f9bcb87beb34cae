"""What canonical text is made of: parts, and the fields of each kind of statement and expression.

The fields are listed, not asked of Python, for its versions differ in them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """A name and the attributes written after it: `a.b.c` is `Ref("a", ("b", "c"))`."""

    name: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Own:
    """The name that a definition gives itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Import:
    """One name bound by an import.

    Attributes:
        bound: the name; empty where the module itself is meant and no name is bound.
        module: dotted, without leading dots.
        level: number of leading dots.
        name: what is taken of the module; None is the module itself, `"*"` all of it.
    """

    bound: str
    module: str
    level: int = 0
    name: str | None = None


Part = str | Ref | Own | Import


_DEFINITION = ("decorator_list", "args", "returns", "body")
_COMPREHENSION = ("elt", "generators")
FIELDS: dict[str, tuple[str, ...]] = {
    "AnnAssign": ("target", "annotation", "value", "simple"),
    "Assert": ("test", "msg"),
    "Assign": ("targets", "value"),
    "AsyncFor": ("target", "iter", "body", "orelse"),
    "AsyncFunctionDef": _DEFINITION,
    "AsyncWith": ("items", "body"),
    "Attribute": ("value", "attr"),
    "AugAssign": ("target", "op", "value"),
    "Await": ("value",),
    "BinOp": ("left", "op", "right"),
    "BoolOp": ("op", "values"),
    "Break": (),
    "Call": ("func", "args", "keywords"),
    "ClassDef": ("decorator_list", "bases", "keywords", "body"),
    "Compare": ("left", "ops", "comparators"),
    "Continue": (),
    "Delete": ("targets",),
    "Dict": ("keys", "values"),
    "DictComp": ("key", "value", "generators"),
    "ExceptHandler": ("type", "name", "body"),
    "Expr": ("value",),
    "For": ("target", "iter", "body", "orelse"),
    "FormattedValue": ("value", "conversion", "format_spec"),
    "FunctionDef": _DEFINITION,
    "GeneratorExp": _COMPREHENSION,
    "Global": ("names",),
    "If": ("test", "body", "orelse"),
    "IfExp": ("test", "body", "orelse"),
    "JoinedStr": ("values",),
    "Lambda": ("args", "body"),
    "List": ("elts",),
    "ListComp": _COMPREHENSION,
    "Match": ("subject", "cases"),
    "MatchAs": ("pattern", "name"),
    "MatchClass": ("cls", "patterns", "kwd_attrs", "kwd_patterns"),
    "MatchMapping": ("keys", "patterns", "rest"),
    "MatchOr": ("patterns",),
    "MatchSequence": ("patterns",),
    "MatchSingleton": ("value",),
    "MatchStar": ("name",),
    "MatchValue": ("value",),
    "NamedExpr": ("target", "value"),
    "Nonlocal": ("names",),
    "Raise": ("exc", "cause"),
    "Return": ("value",),
    "Set": ("elts",),
    "SetComp": _COMPREHENSION,
    "Slice": ("lower", "upper", "step"),
    "Starred": ("value",),
    "Subscript": ("value", "slice"),
    "Try": ("body", "handlers", "orelse", "finalbody"),
    "TryStar": ("body", "handlers", "orelse", "finalbody"),
    "Tuple": ("elts",),
    "TypeAlias": ("name", "value"),
    "UnaryOp": ("op", "operand"),
    "While": ("test", "body", "orelse"),
    "With": ("items", "body"),
    "Yield": ("value",),
    "YieldFrom": ("value",),
    "alias": ("name", "asname"),
    "arg": ("arg", "annotation"),
    "arguments": (
        "posonlyargs",
        "args",
        "vararg",
        "kwonlyargs",
        "kw_defaults",
        "kwarg",
        "defaults",
    ),
    "comprehension": ("target", "iter", "ifs", "is_async"),
    "keyword": ("arg", "value"),
    "match_case": ("pattern", "guard", "body"),
    "withitem": ("context_expr", "optional_vars"),
}
NEVER_WRITTEN = ("ctx", "kind", "type_comment", "type_params")


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """Yield what an import statement binds; `import a.b` binds `a` and runs `a.b`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield Import(alias.asname, alias.name)
            else:
                top = alias.name.partition(".")[0]
                yield Import(top, top)
                if alias.name != top:
                    yield Import("", alias.name)
        return
    for alias in node.names:
        bound = "" if alias.name == "*" else alias.asname or alias.name
        yield Import(bound, node.module or "", node.level, alias.name)


def chain_of(node: ast.expr) -> Ref | None:
    """Return `a.b.c` as a reference; None where it does not begin with a name."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return Ref(node.id, tuple(reversed(attributes))) if isinstance(node, ast.Name) else None
