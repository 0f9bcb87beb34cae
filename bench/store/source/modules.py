"""Modules by name, found as Python would find them and read as text: nothing of them is run."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os.path
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from bench.store.source.canonical import Unit, units_of
from bench.store.source.digest import sha256
from bench.store.source.grammar import Import
from bench.store.source.installed import Owner, owner_of, site_of

HARNESS = "bench"
OURS = (HARNESS, "methods", "evaluators")
"""The packages of this distribution."""

_HOME = Path(__file__).resolve().parents[3]
_STANDARD = Path(ast.__file__).resolve().parent
# Their versions are recorded with every result; see `bench.store.provenance.PACKAGES`.
# fmt: off
RECORDED = frozenset(
    (
        "accelerate",
        "cleanfid",
        "diffusers",
        "numpy",
        "open_clip",
        "peft",
        "PIL",
        "pyarrow",
        "yaml",
        "ray",
        "safetensors",
        "scipy",
        "tokenizers",
        "torch",
        "torchvision",
        "transformers",
    )
)
# fmt: on
_DEEPEST = 100
_SUFFIXES = (".py", *importlib.machinery.EXTENSION_SUFFIXES, ".pyc")

Kind = Literal["source", "ours", "other", "missing"]
Stamp = tuple[int, int, int]
_Parsed = tuple[tuple[Unit, ...], tuple[Import, ...], str, bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Where a module is.

    Attributes:
        name: dotted.
        kind: `"source"`, `"ours"` (of this distribution), `"other"` (another's, or Python's own)
            or `"missing"`.
        file: its file; None for a folder without `__init__.py` and what is not in files.
        places: of a package, the folders its modules are in.
        owner: of another's, its distribution where one is known.
    """

    name: str
    kind: Kind
    file: Path | None = None
    places: tuple[Path, ...] = ()
    owner: Owner | None = None


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module that counts as source.

    Attributes:
        found: where it is.
        units: its statements.
        imports: what it imports outside of all other statements.
        doc: its docstring.
        rebinds: whether functions in it may give its names another value (`global`).
    """

    found: Found
    units: tuple[Unit, ...] = ()
    imports: tuple[Import, ...] = ()
    doc: str = ""
    rebinds: bool = False

    @cached_property
    def digest(self) -> str:
        """The digest of all its statements, as they are written."""
        return sha256(self.doc, *(repr(unit.full.parts) for unit in self.units))

    @property
    def package(self) -> str:
        """What its relative imports are relative to."""
        name = self.found.name
        return name if self.found.places else name.rpartition(".")[0]

    @property
    def imports_run(self) -> Iterator[Import]:
        """What is imported when it is."""
        yield from self.imports
        for unit in self.units:
            if unit.kind == "statement":
                yield from unit.shallow.imports

    @cached_property
    def bound(self) -> Mapping[str, tuple[int | Import, ...]]:
        """By name, what gives it a meaning: numbers of units, imports."""
        names: dict[str, list[int | Import]] = {}
        for number, unit in enumerate(self.units):
            rebound = sorted(unit.full.globals) if self.rebinds else []
            for name in (*unit.shallow.binds, *rebound):
                names.setdefault(name, []).append(number)
            if rebound:
                for one in unit.full.imports:
                    names.setdefault(one.bound, []).append(one)
        for one in self.imports_run:
            names.setdefault(one.bound, []).append(one)
        names.pop("", None)
        return {name: tuple(dict.fromkeys(meanings)) for name, meanings in names.items()}

    @cached_property
    def stars(self) -> tuple[Import, ...]:
        """What it imports all names of."""
        return tuple(one for one in self.imports_run if one.name == "*")


def stamp_of(path: Path) -> Stamp:
    """Return what changes when a file is written: times and size; zeros where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


@dataclass(kw_only=True)
class Modules:
    """Looks modules up; the answers hold as long as `watched` keeps its stamps.

    Attributes:
        home: for the top-level name of a plug-in that is loaded, the folder it was loaded from.
        loaded: by name, the files of the modules that it is in.
        own: the distribution of the plug-in, where it is installed.
        watched: what was looked at, with its stamp.
    """

    home: Mapping[str, Path] = field(default_factory=dict)
    loaded: Mapping[str, Path] = field(default_factory=dict)
    own: str | None = None
    watched: dict[Path, Stamp] = field(default_factory=dict)
    _found: dict[str, Found] = field(default_factory=dict)
    _read: dict[str, Module] = field(default_factory=dict)

    def find(self, name: str) -> Found:
        """Return where the module `name` is."""
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def read(self, found: Found) -> Module:
        """Return the statements of a module that counts as source."""
        if found.name not in self._read:
            read: _Parsed = ((), (), "", False)
            if found.file is not None:
                read = _parsed(found.file, self.watch(found.file))
            units, imports, doc, rebinds = read
            self._read[found.name] = Module(
                found=found, units=units, imports=imports, doc=doc, rebinds=rebinds
            )
        return self._read[found.name]

    def watch(self, path: Path) -> Stamp:
        """Note that an answer depends on a path, and return its stamp."""
        return self.watched.setdefault(path, stamp_of(path))

    def inside(self, found: Found) -> Iterator[Found]:
        """Yield the modules of a package, its own packages' too."""
        for place in found.places:
            if len(place.parts) > _DEEPEST:  # links in a circle
                continue
            self.watch(place)
            for path in sorted(place.iterdir()) if place.is_dir() else ():
                package = path.is_dir() and (path / "__init__.py").is_file()
                if (path.suffix == ".py" and path.stem != "__init__") or package:
                    below = self.find(f"{found.name}.{path.stem}")
                    yield below
                    yield from self.inside(below)

    def beside(self, found: Found) -> Iterator[Found]:
        """Yield the loose modules in the folder of one, unless packages are installed there."""
        if found.file is None or site_of(found.file) is not None:
            return
        folder = found.file.parent
        self.watch(folder)
        for path in sorted(folder.glob("*.py")):
            other = self.find(path.stem)
            if other.file == path:
                yield other

    def _search(self, name: str) -> Found:
        top, _, rest = name.partition(".")
        if name in self.loaded:
            file = self.loaded[name]
            inside = (file.parent,) if file.name == "__init__.py" else ()
            return self._classified(name, file, inside)
        if rest:
            above = self.find(name.rpartition(".")[0])
            if above.kind in ("other", "missing"):
                return Found(name=name, kind=above.kind, owner=above.owner)
            return self._in_folders(name, above.places, above) or Found(name=name, kind="missing")
        if top in sys.builtin_module_names or top == "__main__":
            return Found(name=name, kind="other")  # the main module is another in each process
        home = self.home.get(top) or (_HOME if top in OURS else None)
        if home is not None:
            found = self._in_folders(name, (home,), None)
            if found is not None:
                return found
        places = tuple(Path(entry or ".").absolute() for entry in sys.path)
        return self._in_folders(name, places, None) or self._by_finders(name)

    def _in_folders(self, name: str, places: tuple[Path, ...], above: Found | None) -> Found | None:
        last, folders = name.rpartition(".")[2], []
        for place in places:
            path = f"{place}/{last}"
            if above is None and place != _STANDARD and site_of(place / last) is None:
                self.watch(place)  # a module that appears there would be found first
            if _is_file(f"{path}/__init__.py"):
                return self._classified(name, Path(f"{path}/__init__.py"), (Path(path),))
            for suffix in _SUFFIXES:
                if _is_file(path + suffix):
                    return self._classified(name, Path(path + suffix), ())
            if Path(path).is_dir():
                folders.append(Path(path))
        if not folders:
            return None
        kind: Kind = "source" if above is None else above.kind
        return Found(name=name, kind=kind, places=tuple(folders))

    def _classified(self, name: str, file: Path, inside: tuple[Path, ...]) -> Found:
        resolved = file.resolve()
        top = name.partition(".")[0]
        kind: Kind = "source"
        owner = None
        if top in OURS and _HOME in resolved.parents:
            kind = "ours"
        elif site_of(file) or site_of(resolved):
            if top in RECORDED:
                return Found(name=name, kind="other", file=file, places=inside)
            owner = owner_of(file) or owner_of(resolved)
            if owner is not None and owner.name != self.own and not owner.plugins:
                kind = "other"
        elif _STANDARD in resolved.parents:
            kind = "other"
        return Found(name=name, kind=kind, file=resolved, places=inside, owner=owner)

    def _by_finders(self, name: str) -> Found:
        """Ask the finders that installers of checkouts, and others, have put into Python."""
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            spec = None
        if spec is None:
            return Found(name=name, kind="missing")
        places = tuple(map(Path, spec.submodule_search_locations or ()))
        if not spec.has_location or spec.origin is None:
            return Found(name=name, kind="source" if places else "other", places=places)
        return self._classified(name, Path(spec.origin), places)


def _is_file(path: str) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (asked so often that a Path would tell in `plan`)


@lru_cache(maxsize=4096)
def _parsed(file: Path, _stamp: Stamp) -> _Parsed:
    """Return statements, imports and docstring of a file, read again when its stamp has changed.

    What is no Python that this version reads stands for itself, byte by byte.
    """
    data = file.read_bytes()
    try:
        tree = ast.parse(data, filename=str(file))
        doc = ast.get_docstring(tree, clean=False) or ""
        return (*units_of(tree), doc, re.search(rb"\bglobal\b", data) is not None)
    except (SyntaxError, ValueError):
        text = hashlib.sha256(data).hexdigest()
        opaque = Unit(ast.Expr(ast.Tuple([ast.Constant(text)], ast.Load())))
        return (opaque,), (), "", False
