"""The tiny world: what it can contain, decided once.

A scene holds one to four coloured shapes, or a sign with letters, on a plain ground, in one of a
few styles and at some quality. Its truth is known exactly. `WORLD_VERSION` enters the identity of
everything measured on it: a change here voids every base model and every result.
"""

from __future__ import annotations

from dataclasses import dataclass

WORLD_VERSION = 1

IMAGE_SIZE = 32
"""Pixels; images are square RGB."""

SHAPES = ("circle", "square", "triangle", "cross")
PLURALS = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 205, 40),
    "purple": (160, 60, 200),
    "cyan": (50, 200, 210),
}
FILLS = ("solid", "striped", "dotted")
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {2: "two", 3: "three", 4: "four"}
STYLES = ("picture", "sketch")
QUALITIES_HIGH = ("clean", "well-lit")
QUALITIES_LOW = ("blurred", "noisy", "washed-out")
LETTERS = "HLOTXZ"

GROUND_DAY = (235, 235, 235)
GROUND_NIGHT = (28, 30, 50)
WASH_GREY = 170.0
"""The grey that a washed-out picture is mixed with."""

RADIUS = {"small": (3.6, 4.7), "large": (5.9, 7.6), None: (4.0, 7.6)}
"""Radius in pixels by size word."""
RADIUS_PATTERNED = {"small": (4.6, 5.0), "large": (6.0, 7.6), None: (5.4, 7.6)}
"""A stripe or a dot needs room to be seen."""
RADIUS_LARGEST_OF_TWO = 6.6
"""Two things must fit side by side."""
RADIUS_COUNTED = {2: (3.8, 6.5), 3: (3.6, 5.6), 4: (3.6, 5.0)}
SIZE_BOUNDARY = 5.4
"""Radius that separates small from large."""
GAP = 2.5
"""Least distance in pixels between two objects: a detector must be able to tell them apart."""

HELD_OUT = (("purple", "cross"), ("cyan", "triangle"))
"""(colour, shape) pairs that no training scene contains; test prompts ask for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One shape. Centre and radius in pixels, y downwards."""

    shape: str
    color: str
    fill: str = "solid"
    x: float = 0.0
    y: float = 0.0
    radius: float = 5.0

    @property
    def size(self) -> str:
        """`"small"` or `"large"`."""
        return "small" if self.radius < SIZE_BOUNDARY else "large"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """The exact truth of an image.

    Attributes:
        things: the shapes, in the order a caption names them.
        letters: text of the sign, or empty.
        night: dark ground.
        style: `"picture"` or `"sketch"` (outlines).
        blur: Gaussian radius in pixels.
        noise: standard deviation of the blotches, in 0..255 units.
        wash: share of grey mixed in, 0..1.
        noise_seed: seed of the blotches.
    """

    things: tuple[Thing, ...] = ()
    letters: str = ""
    night: bool = False
    style: str = "picture"
    blur: float = 0.0
    noise: float = 0.0
    wash: float = 0.0
    noise_seed: int = 0

    @property
    def ground(self) -> tuple[int, int, int]:
        """RGB of the ground."""
        return GROUND_NIGHT if self.night else GROUND_DAY


@dataclass(frozen=True, kw_only=True, slots=True)
class Noun:
    """What a prompt says of one thing, or of `count` alike things; None where it says nothing."""

    shape: str
    color: str | None = None
    fill: str | None = None
    size: str | None = None
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a prompt says: the meaning from which both the text and the scenes that fit are made.

    Attributes:
        nouns: one or two noun phrases.
        relation: of the first noun to the second, or None for "and".
        letters: text of a sign (then `nouns` is empty).
        night: whether "at night" is said.
        style: `"picture"`, `"sketch"` or None (neither word is said).
        quality: a quality word, or None.
    """

    nouns: tuple[Noun, ...] = ()
    relation: str | None = None
    letters: str = ""
    night: bool = False
    style: str | None = None
    quality: str | None = None
