"""What is odd about pictures that are read one by one, as they are needed: said in one line each.

Where a folder is looked at whole before anything is measured, `bench.generation.pictures` says it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.read.folders import few
from bench.read.pictures import Picture, PictureError, read_picture
from bench.read.text import shown

LOG = logging.getLogger(__name__)

FLAT = "of one colour, as safety checkers and NaN leave them; each counts"
FEW_BITS = "of 5 or 6 bits a colour, not of 8"
DEEP = "of 16 bits, the upper 8 taken"


def other_space(names: Iterable[str]) -> str:
    """Return what pictures of these colour spaces are, in words."""
    told = ", ".join(dict.fromkeys(name[:60] for name in names if name))
    return f"of another colour space than sRGB ({told}), and are not converted"


@dataclass(kw_only=True)
class Oddities:
    """Gathers what is odd about pictures, by name."""

    seen: int = 0
    flat: list[str] = field(default_factory=list)
    few_bits: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)
    spaces: dict[str, str] = field(default_factory=dict)

    def look(self, name: str, picture: Picture) -> None:
        """Note what is odd about one picture."""
        self.seen += 1
        if picture.flat:
            self.flat.append(name)
        if picture.mode.endswith(";5B"):
            self.few_bits.append(name)
        if picture.mode.endswith(";16B"):
            self.deep.append(name)
        if picture.profile:
            self.spaces[name] = picture.profile

    def say(self, where: str) -> None:
        """Log it, with counts and examples.

        Args:
            where: the pictures come from.
        """
        for what, names in (
            (DEEP, self.deep),
            (FEW_BITS, self.few_bits),
            (other_space(self.spaces.values()), list(self.spaces)),
            (FLAT, self.flat),
        ):
            if names:
                told = f"{len(names)} of {self.seen} pictures are {what}"
                LOG.warning("%s: %s: %s", where, told, few(names))


def say_odd(root: Path, paths: Iterable[Path]) -> None:
    """Look at pictures that are about to be read, and log what is odd about them.

    Broken ones are left to their reader.
    """
    found = Oddities()
    for path in paths:
        try:
            found.look(path.name, read_picture(path, upright=False))
        except PictureError:
            continue
    found.say(shown(root))
