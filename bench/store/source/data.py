"""Files beside a module that its code names: they can change a number as its code can."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from bench.store.source.modules import Module, Modules, Stamp, stamp_of

_NAME = re.compile(r"[\w+-][\w +.-]*(/[\w+-][\w +.-]*)*")
_SUFFIX = re.compile(r"\*?(\.[A-Za-z]\w*)+")
_ELSEWHERE = ("/", "~", "../")
_UNSTORED = ("/proc/", "/sys/")
_DEEPEST = 100
_CODE = (".py", ".pyc", ".pyi")


def files_named(
    modules: Modules, module: Module, texts: Iterable[str], *, reads_files: bool, runs_files: bool
) -> Iterator[tuple[str, Path]]:
    """Yield (name, path) of each file that a module's texts name.

    A text names a file if there is one of that path in the module's folder, or in one around it
    that still belongs to its package; or if it is a whole path, one from the home folder (`~`), or
    one that leaves the folder (`../`). Where the code asks where it lies (`reads_files`), a text
    may also name a folder, or end all names that are meant (`".yaml"`). Code in such a folder is
    followed as modules are, unless files are run (`runs_files`).
    """
    if module.found.file is None:
        return
    folders = _folders(module)
    skipped = (".pyc",) if runs_files else _CODE
    for folder in folders:
        modules.watch(folder)
    for text in texts:
        if len(text) > 200:
            continue
        if reads_files and _SUFFIX.fullmatch(text):
            suffix = text.lstrip("*")
            yield from _all(modules, folders[0], suffix, deep=False, skipped=skipped)
        if text.startswith(_ELSEWHERE):
            yield from _elsewhere(folders[0], text)
        if not _NAME.fullmatch(text):
            continue
        for folder in folders:
            if text.partition("/")[0] not in _listed(folder, stamp_of(folder)):
                continue
            path = folder / text
            if path.is_file():
                yield text, path
            elif reads_files and path.is_dir():
                yield from _all(modules, path, "", deep=True, skipped=skipped)


def file_digest(modules: Modules, path: Path) -> str:
    """Return the sha256 of a file's bytes, read again only when its stamp has changed."""
    return _digest(path, modules.watch(path))


def _elsewhere(folder: Path, text: str) -> Iterator[tuple[str, Path]]:
    try:
        path = folder / Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return
    if path.is_file() and not str(path.resolve()).startswith(_UNSTORED):
        yield text, path


def _folders(module: Module) -> list[Path]:
    assert module.found.file is not None
    folder = module.found.file.parent
    depth = len(module.package.split(".")) if module.package else 1
    return [folder, *folder.parents][:depth]


def _all(
    modules: Modules, folder: Path, suffix: str, *, deep: bool, skipped: tuple[str, ...]
) -> Iterator[tuple[str, Path]]:
    """Yield the files in a folder, but for code and for what is hidden or made by Python."""
    modules.watch(folder)
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not deep or len(path.parts) > _DEEPEST:  # links in a circle
                continue
            for name, inner in _all(modules, path, suffix, deep=True, skipped=skipped):
                yield f"{folder.name}/{name}", inner
        elif path.name.endswith(suffix) and path.suffix not in skipped:
            yield f"{folder.name}/{path.name}" if deep else path.name, path


@lru_cache(maxsize=512)
def _listed(folder: Path, _stamp: Stamp) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir())


@lru_cache(maxsize=4096)
def _digest(path: Path, _stamp: Stamp) -> str:
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
