"""What lies in a store's folders by name: artifacts and working folders, each folder read once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.store.identity import HASH_LENGTH

_PUBLISHED = re.compile(rf"(?P<name>.+)-[0-9a-f]{{{HASH_LENGTH}}}")
_PARTIAL = re.compile(r"(?P<of>.+)\.partial(-(?P<number>\d+))?")


def is_published(name: str) -> bool:
    """Whether a folder of that name is a published artifact's."""
    return _PUBLISHED.fullmatch(name) is not None


def partial_number(partial: Path) -> int:
    """Return the how-manieth working folder of an artifact it is; 0 where it is none."""
    match = _PARTIAL.fullmatch(partial.name)
    return int(match["number"] or 1) if match else 0


@dataclass(kw_only=True)
class _Kind:
    """What a folder of one kind holds."""

    named: dict[str, list[Path]] = field(default_factory=dict)
    partials: dict[str, list[Path]] = field(default_factory=dict)


class Listing:
    """The folders of a store as they are when they are first asked for; later ones are not seen.

    Args:
        root: the store's.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._kinds: dict[Path, _Kind] = {}

    def partials(self, path: Path) -> list[Path]:
        """Return the working folders of the artifact `path`, the newest last."""
        return self._kind(path.parent).partials.get(path.name, [])

    def named(self, kind: str, name: str) -> list[Path]:
        """Return the folders of the published artifacts of a kind and name, sorted."""
        return self._kind(self._root / kind).named.get(name, [])

    def begun(self, kind: str, name: str) -> list[Path]:
        """Return the working folders of artifacts of a kind and name."""
        found = self._kind(self._root / kind).partials
        matches = ((_PUBLISHED.fullmatch(of), folders) for of, folders in found.items())
        return [f for match, folders in matches if match and match["name"] == name for f in folders]

    def _kind(self, folder: Path) -> _Kind:
        if folder not in self._kinds:
            self._kinds[folder] = found = _Kind()
            for name in sorted(_folders_in(folder)):
                if match := _PUBLISHED.fullmatch(name):
                    found.named.setdefault(match["name"], []).append(folder / name)
                elif match := _PARTIAL.fullmatch(name):
                    found.partials.setdefault(match["of"], []).append(folder / name)
            for partials in found.partials.values():
                partials.sort(key=partial_number)
        return self._kinds[folder]


def partials_now(path: Path) -> list[Path]:
    """Return the working folders of the artifact `path` as they are now, the newest last."""
    names = _folders_in(path.parent, f"{path.name}.partial")
    found = [path.parent / name for name in names if _PARTIAL.fullmatch(name)]
    return sorted(found, key=partial_number)


def _folders_in(folder: Path, start: str = "") -> Iterator[str]:
    """Yield the names of a folder's folders that begin with `start`."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from (e.name for e in entries if e.name.startswith(start) and e.is_dir())
