"""The hash of a part's source: editing what a method means makes what was made with it stale."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from bench.api.errors import BenchError, ContractError
from bench.api.registry import Entry
from bench.store.source.installed import owner_of
from bench.store.source.modules import HARNESS, OURS, Modules, stamp_of
from bench.store.source.reach import Meaning, Reach

WITHOUT_NUMBERS = tuple(
    f"{HARNESS}.{part}"
    for part in (
        "api.errors",
        "api.loading",
        "api.registry",
        "assets",
        "cli",
        "environment",
        "errors",
        "report",
        "store",
        "tiny.assets",
        "torchvision_guard",
    )
)
"""Of the harness, what finds, keeps and shows: no definition there can change a number. Weights
that it finds are in identities by their own hashes."""

ASIDE = frozenset(
    (
        "as_stored",
        "complete_prompts",
        "official_results",
        "official_suite",
        "read_folder",
        "stored_references",
        "write_folder",
    )
)
"""Methods of the evaluator contract that move pictures and results about: what was read from a
folder or made as a reference has an identity of its own, and what is written is not read again."""

_NO_SOURCE = (
    "the source of {} cannot be found, so results made with it could not be told from those of an "
    "edited version; put it in a .py file and name it as package.module:Name."
)


class SourceChangedError(BenchError):
    """What a step is made with was edited since the step was asked for (exit 1)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a step is made with, as it was when the step was asked for. Plain JSON-able data.

    Attributes:
        roots: the class as `"module:qualified.name"`, what it derives from, and the name it was
            asked for by.
        sha256: the hash that is in the step's identity.
        files: by path, the digest of what is reached of it.
    """

    roots: tuple[str, ...]
    sha256: str
    files: Mapping[str, str]

    @property
    def plugin(self) -> tuple[str, str]:
        """The class, and the name it was asked for by: what imports whose code it is."""
        return self.roots[0], self.roots[-1]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Source:
        """Return what `to_json` was called on."""
        return cls(roots=tuple(data["roots"]), sha256=data["sha256"], files=data["files"])


def plugin_source_hash(cls: type, target: str | None = None) -> str:
    """Return the sha256 over the definitions that `cls` reaches.

    Names are followed from the class, and from `target` (`"module:attribute"`, what it was asked
    for by), through the modules of its distribution, of this one, of others with plug-ins, and of
    loose files. Comments, docstrings, layout, imports, where a definition lies, what it is imported
    as and what the class is called do not enter. Where a name cannot be followed, the whole module
    does; so do statements that act when a module is imported, and files that code
    names. Methods in `ASIDE` do only where a rule calls them.

    Of the harness, what a built-in method or evaluator reaches is not followed: `version` covers
    it, and a test (`tests/test_versions.py`) sees that it does.

    Raises:
        ContractError: the class has no source file (it was typed into an interpreter).
    """
    return source_of(cls, target).sha256


def code_identity(cls: type, target: str | None = None) -> dict[str, Any]:
    """Return what of the code of `cls` enters an identity: version, hash, other distributions.

    The last, `packages`, is there for plug-ins only, and where they use any whose version is not
    recorded with every result.

    Raises:
        ContractError: as `plugin_source_hash`.
    """
    version = getattr(cls, "version", None)
    if version is None:
        version = getattr(getattr(cls, "spec", None), "version", None)
    return {"version": version, **_code(_roots(cls, target))}


def _code(roots: tuple[str, ...]) -> dict[str, Any]:
    found = meaning_of(roots)
    identity: dict[str, Any] = {"source_sha256": found.sha256}
    if found.packages and not _is_ours(roots[0].partition(":")[0]):
        identity["packages"] = dict(found.packages)
    return identity


def source_of(cls: type, target: str | None = None) -> Source:
    """Return what `plugin_source_hash` hashes, to be compared later.

    Raises:
        ContractError: as there.
    """
    return _source(_roots(cls, target))


def _source(roots: tuple[str, ...]) -> Source:
    found = meaning_of(roots)
    _edited_since_loaded(found)
    return Source(roots=roots, sha256=found.sha256, files=dict(found.files))


def plugin_code(entry: Entry, cls: type) -> dict[str, Any]:
    """Return `{"code": ...}`, what of a third party's part enters identities; built-in ones have
    their version there.

    Raises:
        ContractError: as `plugin_source_hash`.
    """
    return {} if entry.origin == "built-in" else {"code": code_identity(cls, entry.target)}


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a part that a setting names by its place is made with, where it is a third party's.

    Attributes:
        identity: `{"code": ...}`, to stand in the identity of what is made; empty for our own.
        sources: to be compared again where it is made; empty for our own.
    """

    identity: Mapping[str, Any]
    sources: tuple[Source, ...]


def foreign_part(target: str, cls: type | None = None) -> Foreign:
    """Return the code behind `"module:attribute"`, which was imported already.

    Args:
        target: what the setting names.
        cls: what was found there, where that is a class: its version and bases enter too.

    Raises:
        ContractError: its source cannot be found.
    """
    module = target.partition(":")[0]
    if _is_ours(module):
        return Foreign(identity={}, sources=())
    if cls is not None:
        code, source = code_identity(cls, target), source_of(cls, target)
        return Foreign(identity={"code": code}, sources=(source,))
    if _file(module) is None:
        raise ContractError(_NO_SOURCE.format(target))
    return Foreign(identity={"code": _code((target,))}, sources=(_source((target,)),))


def require_unchanged(source: Source) -> None:
    """Take the hash again.

    Raises:
        SourceChangedError: it is another, or this process has loaded modules that were edited
            since; the files are named.
    """
    with suppress(Exception):  # who uses it says what is wrong with it
        importlib.import_module(source.roots[0].partition(":")[0])
    now = meaning_of(source.roots)
    changed = {
        path
        for path in {*source.files, *now.files}
        if source.files.get(path) != now.files.get(path)
    }
    if now.sha256 != source.sha256:
        what = ", ".join(sorted(changed)) or f"what {source.roots[0]} imports"
        raise SourceChangedError(
            f"{what} was edited after this was asked for, so that the result would be stored as "
            f"that of another {source.roots[0]}; nothing was published. Run the same command "
            "again: it makes what the source now says."
        )
    if edited := _edited_since_loaded(now):
        raise SourceChangedError(
            f"{', '.join(edited)} was edited after this process had loaded it, so that what would "
            "run is not what the file says; nothing was published. Start a new process."
        )


_SEEN: WeakKeyDictionary[ModuleType, str] = WeakKeyDictionary()
"""By loaded module, the digest of its source when it was first looked at."""


def _edited_since_loaded(meaning: Meaning) -> list[str]:
    """Return the names of loaded modules whose source is not what it was when first seen."""
    loaded = {name: sys.modules[name] for name in meaning.modules if name in sys.modules}
    return [
        name
        for name, module in loaded.items()
        if _SEEN.setdefault(module, meaning.modules[name]) != meaning.modules[name]
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """Modules that were looked up under one search path, and what was found out from them."""

    modules: Modules
    meanings: dict[tuple[tuple[str, ...], tuple[str, ...]], Meaning]

    def holds(self) -> bool:
        """Whether nothing that was looked at has changed."""
        return all(stamp_of(path) == stamp for path, stamp in self.modules.watched.items())


_LOOKED: dict[Any, _Looked] = {}


def meaning_of(roots: tuple[str, ...], closed: tuple[str, ...] | None = None) -> Meaning:
    """Return what the first of the roots means; kept while nothing it was read from changes.

    Args:
        roots: `"module:qualified.name"`, see `bench.store.source.reach.Reach.meaning`.
        closed: parts of the harness that are named and not followed. By default all of it for
            built-in methods and evaluators, and for others what cannot change numbers.
    """
    name = roots[0].partition(":")[0]
    file = _file(name)
    owner = None if file is None else owner_of(file)
    home, own = _home(roots), None if owner is None else owner.name
    names = (root.partition(":")[0] for root in roots)
    loaded = {one: path.absolute() for one in names if (path := _file(one)) is not None}
    main = {one: path for one, path in loaded.items() if one == "__main__"}
    key = (tuple(sys.path), tuple(home.items()), tuple(main.items()), own)
    looked = _LOOKED.get(key)
    if looked is None or not looked.holds():
        looked = _LOOKED[key] = _Looked(
            modules=Modules(home=home, loaded=main, own=own), meanings={}
        )
    if closed is None:
        ours = looked.modules.find(name).kind == "ours"
        closed = (HARNESS,) if ours else WITHOUT_NUMBERS
    if (roots, closed) not in looked.meanings:
        looked.meanings[roots, closed] = Reach(looked.modules, closed, ASIDE).meaning(roots)
    return looked.meanings[roots, closed]


def _roots(cls: type, target: str | None) -> tuple[str, ...]:
    if _file(cls.__module__) is None:
        raise ContractError(_NO_SOURCE.format(f"{cls.__module__}:{cls.__qualname__}"))
    parts = getattr(cls, "__mro__", (cls,))  # a function has none
    known = [f"{part.__module__}:{part.__qualname__}" for part in parts if part is not object]
    return tuple(dict.fromkeys([*known, *([] if target is None else [target])]))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS and Modules().find(module).kind == "ours"


def _file(name: str) -> Path | None:
    """Return the Python file that a loaded module came from."""
    file = getattr(sys.modules.get(name), "__file__", None)
    path = None if file is None else Path(file)
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _home(roots: tuple[str, ...]) -> dict[str, Path]:
    """Return, by top-level name, the folder that the roots were loaded from."""
    found: dict[str, Path] = {}
    for root in roots:
        name = root.partition(":")[0]
        if (file := _file(name)) is not None:
            depth = name.count(".") + (file.name == "__init__.py")
            found.setdefault(name.partition(".")[0], file.absolute().parents[depth])
    return found
