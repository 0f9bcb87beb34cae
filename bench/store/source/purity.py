"""Which calls only make a value, so that a statement with them does nothing but name it.

What is not known to be harmless counts as an effect: it then enters the hash of whoever imports
the module, named or not.
"""

from __future__ import annotations

# fmt: off
_EFFECTS = frozenset((
    "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "input", "open", "print",
    "setattr",
))
"""Built-in functions that do more than return something."""

_LIBRARIES = frozenset((
    "abc", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "hashlib", "itertools", "json", "math", "numpy", "operator",
    "pathlib", "re", "string", "struct", "textwrap", "torch", "types", "typing",
    "typing_extensions",
))
_SINGLE = frozenset(("logging.getLogger", "os.environ.get", "os.getenv"))
_SETTERS = ("set", "seed", "manual_seed", "use_", "enable", "disable", "backends")

_METHODS = frozenset((
    "as_posix", "copy", "count", "deleter", "encode", "endswith", "format", "get", "getter",
    "index", "items", "join", "keys", "lower", "lstrip", "removeprefix", "removesuffix", "replace",
    "resolve", "rstrip", "setter", "split", "splitlines", "startswith", "strip", "title", "upper",
    "values", "with_name", "with_suffix",
))
"""Methods that leave alone the object they are called on."""
# fmt: on

CONSTRUCTORS = frozenset(("__init__", "__new__", "__post_init__"))


def plain_call(name: str) -> bool:
    """Whether calling a name that no module of source defines makes a value only."""
    return name.strip("$;") not in _EFFECTS and "*" not in name


def library_call(dotted: str) -> bool:
    """Whether a call into another distribution, or into Python's own library, does."""
    if dotted in _SINGLE:
        return True
    top, *names = dotted.split(".")
    return top in _LIBRARIES and not any(name.startswith(_SETTERS) for name in names)


def method_call(attributes: tuple[str, ...]) -> bool:
    """Whether a method called on an object of a module leaves that object alone."""
    return attributes[-1] in _METHODS
