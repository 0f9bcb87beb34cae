"""What lies in folders of users: files that are meant, and what is left out, with its count.

Systems and programs leave things of their own: hidden files, `__MACOSX`, `Thumbs.db`. Those are
never counted. Everything else that a reader does not take is said by `Listing.say`.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import IncompleteError, ProtocolError, UsageError
from bench.read.pictures import PICTURES
from bench.read.text import shown

LOG = logging.getLogger(__name__)

LEFT_BY_OTHERS = (
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin"),
    *("system volume information", "lost+found", "__pycache__"),
)
"""Names, in lower case, that systems leave in folders; none of them is the user's."""

_VERSION = re.compile(r"(?P<name>.+?)(?P<word>[-_. ]+[^\W\d_][\w ]*)")
"""A name with a word behind it."""
_SHOWN = 3
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What lies in a folder.

    Attributes:
        root: the folder.
        files: ordinary files, links to such among them, sorted by name.
        folders: sub-folders, sorted by name.
        hidden: names of what systems leave behind, and of hidden files.
        strange: names of what is neither file nor folder (pipes, sockets, devices).
    """

    root: Path
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    hidden: tuple[str, ...]
    strange: tuple[str, ...]

    def pictures(self) -> list[Path]:
        """Return the files that are pictures by their names."""
        return [path for path in self.files if is_picture_name(path.name)]

    def say(self, taken: Iterable[Path]) -> None:
        """Log what is not counted: how many of what, and examples.

        Args:
            taken: files and folders that the reader takes.
        """
        known = set(taken)
        other = [p.name for p in self.files if p not in known] + list(self.strange)
        below = {p.name: pictures_below(p) for p in self.folders if p not in known}
        full = [f"{name} ({count})" for name, count in below.items() if count]
        parts = [
            f"{count} {what} ({few(names)})"
            for what, count, names in (
                ("of another kind", len(other), other),
                ("pictures in sub-folders", sum(below.values()), full),
                ("hidden or left by a system", len(self.hidden), self.hidden),
            )
            if names
        ]
        if parts:
            # what systems leave behind is nobody's loss; anything else may be
            level = logging.WARNING if other or full else logging.INFO
            LOG.log(level, "%s: not counted: %s", shown(self.root), ", ".join(parts))


def few(names: Sequence[str], count: int = _SHOWN) -> str:
    """Return the first of some names, and that there are more."""
    listed = ", ".join(shown(name) for name in names[:count])
    return listed + (", ..." if len(names) > count else "")


def is_hidden(name: str) -> bool:
    """Whether a name is of what systems and programs leave behind."""
    return name.startswith((".", "~$")) or name.lower() in LEFT_BY_OTHERS


def is_picture_name(name: str) -> bool:
    """Whether a name is one of a picture; hidden files are none."""
    return Path(name).suffix.lower() in PICTURES and not is_hidden(name)


def listed(root: Path, *, expected: str = "one that holds pictures") -> Listing:
    """List a folder.

    Args:
        root: the folder.
        expected: what it should be, for messages.

    Raises:
        UsageError: there is no such folder, it cannot be listed, or a name in it is no text.
        IncompleteError: links in it lead nowhere; they are named.
        ProtocolError: two names differ in the Unicode form of one text alone.
    """
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{shown(root)} is no folder; expected {expected}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{shown(root)} cannot be listed: {reason}") from None
    files: list[Path] = []
    folders: list[Path] = []
    hidden, strange, dangling = [], [], []
    for entry in entries:
        path = root / entry.name
        if is_hidden(entry.name):
            hidden.append(entry.name)
            continue
        try:
            mode = entry.stat().st_mode
        except OSError:  # a link that leads nowhere, or in a circle
            dangling.append(entry.name)
            continue
        kind = files if stat.S_ISREG(mode) else folders if stat.S_ISDIR(mode) else None
        if kind is None:
            strange.append(entry.name)
        else:
            kind.append(path)
    if dangling:
        targets = [f"{name} -> {_target(root / name)}" for name in dangling]
        raise IncompleteError(
            f"{shown(root)}: {len(dangling)} links lead nowhere: {few(targets, _LISTED)}. Is a "
            "disk not mounted? Mend the links, or take them away"
        )
    _require_texts(root, [path.name for path in (*files, *folders)])
    return Listing(
        root=root,
        files=tuple(files),
        folders=tuple(folders),
        hidden=tuple(hidden),
        strange=tuple(strange),
    )


def listed_below(root: Path, *, expected: str = "one that holds pictures") -> list[Listing]:
    """List a folder and all that lie below it, itself first; linked folders too.

    Raises:
        UsageError, IncompleteError, ProtocolError: as `listed`; or a folder links to one that it
            lies in.
    """
    found: list[Listing] = []
    queue: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(root, ())]
    while queue:
        folder, above = queue.pop(0)
        listing = listed(folder, expected=expected)
        info = folder.stat()
        here = (info.st_dev, info.st_ino)
        if here in above:
            raise UsageError(f"{shown(folder)} links to a folder that it lies in; remove the link")
        found.append(listing)
        queue += [(inner, (*above, here)) for inner in listing.folders]
    return found


def pictures_below(root: Path) -> int:
    """Return how many pictures, by their names, lie in and below a folder; no link is followed."""
    count = 0
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        count += sum(map(is_picture_name, names))
    return count


def shipped(folder: Path, ending: str) -> list[Path]:
    """Return the files of an ending that a package ships in a folder, sorted by name."""
    return [path for path in listed(folder).files if path.suffix == ending]


def one_each(paths: Iterable[Path], what: str = "two pictures of one name") -> dict[str, Path]:
    """Return files by the stem of their names.

    Raises:
        ProtocolError: two files have one stem.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise ProtocolError(
                f"{shown(path.parent)} holds {found[path.stem].name} and {path.name}: {what}; "
                "keep one"
            )
        found[path.stem] = path
    return found


def say_versions(root: Path, paths: Iterable[Path]) -> None:
    """Log pictures that are named as another one with a word behind it: masks, other versions.

    `a_mask.png` beside `a.png`; a number behind is that of another picture.

    Args:
        root: the folder they were read from.
        paths: of the pictures, which all count.
    """
    known = {path.with_suffix("") for path in paths}
    found: dict[str, list[str]] = {}
    for path in sorted(known):
        match = _VERSION.fullmatch(path.name)
        if match is not None and path.with_name(match["name"]) in known:
            found.setdefault(match["word"], []).append(path.name)
    for word, names in found.items():
        if len(names) > 1:
            LOG.warning(
                "%s: %d of %d pictures are named as another one with %s behind it (%s): masks, or "
                "other versions of it? Each counts",
                *(shown(root), len(names), len(known), word, few(names)),
            )


def named(root: Path, name: str) -> Path:
    """Return the file of a name below `root`, in whichever Unicode form the name is on disk.

    Where there is none, the path that it would have.
    """
    path = root / name
    if os.path.lexists(path) or name.isascii():
        return path
    here = root
    for part in Path(name).parts:
        wanted = unicodedata.normalize("NFC", part)
        try:
            names = [path.name for path in here.iterdir()]
        except OSError:
            return path
        same = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
        if len(same) != 1:
            return path
        here = here / same[0]
    return here


def _require_texts(root: Path, names: Sequence[str]) -> None:
    bad = [name for name in names if any("\udc80" <= c <= "\udcff" for c in name)]
    if bad:
        raise UsageError(
            f"{shown(root)} holds {few(bad)}: bytes of the name are no UTF-8; rename the file (an "
            "archive of another system was unpacked?)"
        )
    forms: dict[str, str] = {}
    for name in names:
        form = unicodedata.normalize("NFC", name)
        if form in forms:
            raise ProtocolError(
                f"{shown(root)} holds two entries named {form!r} that differ in their Unicode form "
                "alone; keep one"
            )
        forms[form] = name


def _target(path: Path) -> str:
    try:
        return shown(path.readlink())
    except OSError:
        return "?"
