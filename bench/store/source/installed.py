"""Which installed distribution a file belongs to, read from what installers leave beside it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

SITES = ("site-packages", "dist-packages")
"""Folders that installers write into; what lies elsewhere is somebody's work."""

_GROUPS = "[bench."


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A distribution: its name, its version, and whether it offers plug-ins of this harness."""

    name: str
    version: str
    plugins: bool


def site_of(file: Path) -> Path | None:
    """Return the folder of installed packages that a file lies in, or None."""
    for folder in file.parents:
        if folder.name in SITES:
            return folder
    return None


def owner_of(file: Path) -> Owner | None:
    """Return the distribution that installed a file; None where no one says that it did."""
    site = site_of(file)
    if site is None:
        return None
    files, tops = _installed(site, site.stat().st_mtime_ns)
    inside = file.relative_to(site)
    return files.get(inside.as_posix()) or tops.get(inside.parts[0].removesuffix(".py"))


@lru_cache(maxsize=8)
def _installed(site: Path, _stamp: int) -> tuple[Mapping[str, Owner], Mapping[str, Owner]]:
    """Return the owners of files, and those of top-level names whose files nobody lists."""
    from importlib.metadata import Distribution  # slow to import, and needed by few

    files: dict[str, Owner] = {}
    tops: dict[str, Owner] = {}
    for found in Distribution.discover(path=[str(site)]):
        points = found.read_text("entry_points.txt") or ""
        name = str(found.metadata["Name"])
        owner = Owner(name=name, version=str(found.version), plugins=_GROUPS in points)
        listed = list(_files(found))
        files |= dict.fromkeys(listed, owner)
        if not listed:
            tops |= dict.fromkeys((found.read_text("top_level.txt") or "").split(), owner)
    return files, tops


def _files(found: Distribution) -> Iterator[str]:
    """Yield the modules a distribution lists, relative to the folder it is installed in."""
    for line in (found.read_text("RECORD") or "").splitlines():
        path = line.partition(",")[0].strip('"')
        if path.endswith(".py"):
            yield path
    for line in (found.read_text("installed-files.txt") or "").splitlines():
        if line.endswith(".py"):
            yield posixpath.normpath(f"x.egg-info/{line}")
