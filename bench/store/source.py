"""The hash of a plug-in's source: editing a method file makes what was made with it stale.

Numbers come from the class's own file and from what it imports of its own package, so the hash
runs over the closure of those files, found by reading the source (nothing is imported). The
harness itself (`bench`) is left out: its parts carry integer versions.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import ContractError

_HARNESS = "bench"


def plugin_source_hash(cls: type) -> str:
    """Return the sha256 over the source files that define `cls`.

    These are the files of `cls` and of those of its base classes that belong to the same
    top-level package or to a package of plug-ins, and all modules of those packages that they
    import, directly or not. A module outside a package stands alone.

    Raises:
        ContractError: the class has no source file (it was typed into an interpreter).
    """
    listing: dict[str, str] = {}
    for root, label in _sources(cls):
        listing[label] = _file_digest(root / label)
    text = "".join(f"{label} {digest}\n" for label, digest in sorted(listing.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def code_identity(cls: type) -> dict[str, Any]:
    """Return what of the code of `cls` enters an identity: class, version, source hash.

    Raises:
        ContractError: as `plugin_source_hash`.
    """
    version = getattr(cls, "version", None)
    if version is None:
        version = getattr(getattr(cls, "spec", None), "version", None)
    return {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "version": version,
        "source_sha256": plugin_source_hash(cls),
    }


def _sources(cls: type) -> Iterator[tuple[Path, str]]:
    """Yield (folder that holds the top-level package, path relative to it) of each file."""
    relevant = {_top(cls.__module__), "methods", "evaluators"} - {_HARNESS}
    seen: set[tuple[Path, str]] = set()
    queue = [_locate(c) for c in cls.__mro__ if c is cls or _top(c.__module__) in relevant]
    while queue:
        item = queue.pop()
        if item in seen:
            continue
        seen.add(item)
        yield item
        root, label = item
        queue += [(root, found) for found in _imports(root, label)]


def _top(module: str) -> str:
    return module.partition(".")[0]


def _locate(cls: type) -> tuple[Path, str]:
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file() or Path(file).suffix != ".py":
        raise ContractError(
            f"the source of {cls.__module__}:{cls.__qualname__} cannot be found, so results made "
            "with it could not be told from those of an edited version; put the class in a .py "
            "file and name it as package.module:Class."
        )
    path = Path(file).resolve()
    depth = cls.__module__.count(".") + (path.name == "__init__.py")
    root = path.parents[depth]
    return root, path.relative_to(root).as_posix()


def _imports(root: Path, label: str) -> list[str]:
    """Labels of the modules that the module `label` imports from its own top-level package."""
    parts = Path(label).parts
    if len(parts) == 1 or parts[0] == _HARNESS:
        return []
    package = parts[:-1]
    found: list[str] = []
    for node in _import_nodes(root / label):
        if isinstance(node, ast.Import):
            found += [hit for a in node.names if (hit := _file_of(root, a.name.split(".")))]
            continue
        base = list(package[: len(package) - node.level + 1]) if node.level else []
        base += node.module.split(".") if node.module else []
        for alias in node.names:
            hit = _file_of(root, [*base, alias.name]) or _file_of(root, base)
            if hit:
                found.append(hit)
    return [hit for hit in found if Path(hit).parts[0] == parts[0]]


def _file_of(root: Path, module: list[str]) -> str | None:
    stem = "/".join(module)
    for label in (f"{stem}.py", f"{stem}/__init__.py"):
        if module and (root / label).is_file():
            return label
    return None


def _import_nodes(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return _parsed(path, _stamp(path))[1]


def _file_digest(path: Path) -> str:
    return _parsed(path, _stamp(path))[0]


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


@lru_cache(maxsize=1024)
def _parsed(
    path: Path, stamp: tuple[int, int, int]
) -> tuple[str, tuple[ast.Import | ast.ImportFrom, ...]]:
    """Digest and import statements of a file; read again only when its stamp has changed."""
    data = path.read_bytes()
    try:
        nodes = list(ast.walk(ast.parse(data, filename=str(path))))
    except SyntaxError:
        nodes = []  # nothing can have been imported through it
    imports = tuple(n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom))
    return hashlib.sha256(data).hexdigest(), imports
