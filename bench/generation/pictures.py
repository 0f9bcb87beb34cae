"""What the pictures of a folder are: one size, RGB, whole. Looked at before anything is stored."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import IncompleteError, ProtocolError
from bench.api.folder import say_copies
from bench.api.generation import ImageSet
from bench.read.folders import few, say_versions
from bench.read.oddities import DEEP, FEW_BITS, FLAT, other_space
from bench.read.pictures import Picture, PictureError, read_picture
from bench.read.text import shown

LOG = logging.getLogger(__name__)

MODES = ("RGB", "RGB;16B", "RGB;5B")
"""Of which nothing has to be decided: grey could be meant as three channels, CMYK not at all."""
TURNED = {
    True: "turned upright, as their EXIF says",
    False: "stored as EXIF turns them, and measured as they are stored: FID's official programs do "
    "so, and its kin's",
}
"""What is said of such pictures, by whether they are turned."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """What all pictures of a set have in common.

    Attributes:
        width, height: pixels; None where they differ and that was allowed.
        formats: number of pictures by file format, e.g. `{"PNG": 4}`.
        changed: those whose pixels are not just the file's: turned upright, first of several.
        turned: those that EXIF turns, where that was not done.
        lossy: how many were stored with loss: other pictures than those that were sampled.
    """

    width: int | None
    height: int | None
    formats: dict[str, int]
    changed: frozenset[Path] = frozenset()
    turned: frozenset[Path] = frozenset()
    lossy: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """One picture without its pixels."""

    path: Path
    mode: str
    size: tuple[int, int]
    format: str
    orientation: int
    frames: int
    misnamed: bool
    profile: str
    flat: bool
    lossy: bool

    @classmethod
    def of(cls, path: Path, found: Picture) -> _Seen:
        return cls(
            path=path,
            mode=found.mode,
            size=found.image.size,
            format=found.format,
            orientation=found.orientation,
            frames=found.frames,
            misnamed=found.misnamed,
            profile=found.profile,
            flat=found.flat,
            lossy=found.lossy,
        )


def check_pictures(
    images: ImageSet,
    *,
    size: tuple[int, int] | None = None,
    any_size: bool = False,
    upright: bool = True,
) -> Pictures:
    """Decode every picture and say what they are, and what is done to some of them.

    Args:
        images: a complete image set.
        size: (width, height) that each must have, as it is read; None means that of the first.
        any_size: sizes may differ.
        upright: photographs are turned as their EXIF says.

    Raises:
        IncompleteError: there is none.
        ProtocolError: pictures are broken, of another size or mode, or hold several frames;
            some are named.
    """
    if not images.records:
        raise IncompleteError(f"{shown(images.root)} holds no image")
    found, broken = [], []
    for path in images.paths():
        try:
            found.append(_Seen.of(path, read_picture(path, upright=upright)))
        except PictureError as error:
            broken.append((path, error.reason))
    total = len(found) + len(broken)
    if broken:
        listed = "\n  ".join(f"{shown(path)}: {reason}" for path, reason in broken[:_SHOWN])
        more = f"\n  and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise ProtocolError(
            f"{len(broken)} of {total} pictures of {shown(images.root)} cannot be used:\n"
            f"  {listed}{more}\n  to mend it: make them anew, or take them out"
        )
    modes = [(seen.path, seen.mode) for seen in found if seen.mode not in MODES]
    if modes:
        raise ProtocolError(
            _said(images.root, modes, total, f"mode {MODES[0]}")
            + ". Convert them as they were meant to be seen (transparency over white, grey to "
            "three channels), or sample them anew."
        )
    sizes = Counter(seen.size for seen in found)
    expected = size or found[0].size
    wrong = [
        (seen.path, f"{seen.size[0]} x {seen.size[1]}") for seen in found if seen.size != expected
    ]
    if wrong and not any_size:
        raise ProtocolError(
            _said(images.root, wrong, total, f"{expected[0]} x {expected[1]} pixels")
            + ". A score over other sizes is another protocol; name the size with --size WxH, or "
            "pass --any-size."
        )
    common = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    _say(images.root, found, TURNED[upright], _is_turned)
    _say(images.root, found, "of several photographs (MPO), the first taken", _several)
    _say(images.root, found, DEEP, lambda s: s.mode.endswith("16B"))
    _say(images.root, found, FEW_BITS, lambda s: s.mode.endswith(";5B"))
    told = other_space(seen.profile for seen in found)
    _say(images.root, found, told, lambda s: bool(s.profile))
    say_copies(images)
    _say(images.root, found, FLAT, lambda s: s.flat)
    say_versions(images.root, [seen.path for seen in found])
    _say(images.root, found, "of another format than their name says", lambda s: s.misnamed)
    return Pictures(
        width=common[0],
        height=common[1],
        formats=dict(Counter(seen.format for seen in found)),
        changed=frozenset(s.path for s in found if (upright and _is_turned(s)) or _several(s)),
        turned=frozenset(s.path for s in found if not upright and _is_turned(s)),
        lossy=sum(seen.lossy for seen in found),
    )


def _is_turned(seen: _Seen) -> bool:
    return seen.orientation != 1


def _several(seen: _Seen) -> bool:
    return seen.frames > 1


def _say(root: Path, found: list[_Seen], what: str, which: Callable[[_Seen], bool]) -> None:
    some = [seen.path.name for seen in found if which(seen)]
    if some:
        told = f"{len(some)} of {len(found)} pictures are {what}"
        LOG.warning("%s: %s: %s", shown(root), told, few(some))


def _said(root: Path, wrong: list[tuple[Path, str]], count: int, expected: str) -> str:
    some = ", ".join(f"{p.relative_to(root)} ({what})" for p, what in wrong[:_SHOWN])
    more = " ..." if len(wrong) > _SHOWN else ""
    return f"{len(wrong)} of {count} pictures are not of {expected}: {some}{more}"
