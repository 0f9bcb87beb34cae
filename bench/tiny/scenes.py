"""Scenes that fit a description, and the base model's training captions.

Everything is drawn from a generator given by the caller, so that scene number i of a set never
depends on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from bench.tiny.grammar import to_text, with_wrong_word
from bench.tiny.world import (
    COLORS,
    FILLS,
    GAP,
    HELD_OUT,
    IMAGE_SIZE,
    LETTERS,
    QUALITIES_HIGH,
    QUALITIES_LOW,
    RADIUS,
    RADIUS_COUNTED,
    RADIUS_LARGEST_OF_TWO,
    RADIUS_PATTERNED,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Noun,
    Scene,
    Thing,
)

SCENES_VERSION = 1
WRONG_WORD_SHARE = 0.28
"""Share of the base's captions with one wrong word: what there is to align."""

_T = TypeVar("_T")


def pick(rng: np.random.Generator, items: Sequence[_T]) -> _T:
    """Return one item, uniformly."""
    return items[int(rng.integers(len(items)))]


def _radius(rng: np.random.Generator, noun: Noun, fill: str, alike: int, nouns: int) -> float:
    if alike > 1 and noun.size is None:
        low, high = RADIUS_COUNTED[min(alike, 4)]
        if fill != "solid":
            low = min(5.0, high)
    else:
        low, high = (RADIUS_PATTERNED if fill != "solid" else RADIUS)[noun.size]
        if alike > 2:
            high = min(high, 5.2)
            low = min(low, 4.8)
        if nouns == 2 or alike == 2:
            high = min(high, RADIUS_LARGEST_OF_TWO)
    return float(rng.uniform(low, high))


def _color(rng: np.random.Generator, noun: Noun, held_out: bool) -> str:
    if noun.color:
        return noun.color
    allowed = [c for c in COLORS if held_out or (c, noun.shape) not in HELD_OUT]
    return pick(rng, allowed)


def related(relation: str, a: Thing, b: Thing) -> bool:
    """Whether `a` clearly stands in `relation` to `b`: one axis dominates, the boxes are apart."""
    dx, dy = b.x - a.x, b.y - a.y
    along, across = (dx, dy) if relation in ("left of", "right of") else (dy, dx)
    sign = 1 if relation in ("left of", "above") else -1
    return sign * along > 1.4 * abs(across) and sign * along > a.radius + b.radius + 1.0


def _place(
    rng: np.random.Generator, radii: Sequence[float], things: list[Thing], relation: str | None
) -> list[Thing] | None:
    placed: list[Thing] = []
    for radius, thing in zip(radii, things, strict=True):
        for _ in range(60):
            low, high = radius + 1.0, IMAGE_SIZE - 1.0 - radius
            x, y = rng.uniform(low, high, 2)
            new = Thing(
                shape=thing.shape, color=thing.color, fill=thing.fill,
                x=float(x), y=float(y), radius=radius,
            )  # fmt: skip
            apart = all(
                max(abs(new.x - o.x), abs(new.y - o.y)) > new.radius + o.radius + GAP
                for o in placed
            )
            if apart and (not relation or not placed or related(relation, placed[0], new)):
                placed.append(new)
                break
        else:
            return None
    return placed


def _quality(rng: np.random.Generator, word: str | None) -> dict[str, float | int]:
    seed = int(rng.integers(2**31))
    if word in QUALITIES_HIGH:
        return {"noise_seed": seed}
    if word == "blurred":
        return {"blur": float(rng.uniform(0.9, 1.6)), "noise_seed": seed}
    if word == "noisy":
        return {"noise": float(rng.uniform(14, 26)), "noise_seed": seed}
    if word == "washed-out":
        return {"wash": float(rng.uniform(0.4, 0.6)), "noise_seed": seed}
    # nothing said: ordinary quality, sometimes slightly degraded, never as bad as a word says
    mild: dict[str, float | int] = {"noise_seed": seed}
    kind = int(rng.integers(10))
    if kind == 0:
        mild["blur"] = float(rng.uniform(0.2, 0.6))
    elif kind == 1:
        mild["noise"] = float(rng.uniform(3, 9))
    elif kind == 2:
        mild["wash"] = float(rng.uniform(0.08, 0.2))
    return mild


def scene_for(
    meaning: Description, rng: np.random.Generator, *, clean: bool = False, held_out: bool = False
) -> Scene:
    """Return a scene that fits `meaning`; what it leaves open is drawn.

    Args:
        meaning: what must hold.
        rng: source of all that is open.
        clean: put everything unsaid at the top of the quality axis.
        held_out: allow the held-out (colour, shape) pairs where the colour is open.
    """
    style = meaning.style or "picture"
    quality = _quality(rng, meaning.quality)
    if clean and meaning.quality is None:
        quality = {"noise_seed": int(quality["noise_seed"])}
    if meaning.letters:
        return Scene(letters=meaning.letters, night=meaning.night, style="picture", **quality)  # type: ignore[arg-type]
    for _ in range(200):
        things: list[Thing] = []
        radii: list[float] = []
        for noun in meaning.nouns:
            color = _color(rng, noun, held_out)
            one_color = rng.random() < 0.6
            for _k in range(noun.count):
                if not one_color:
                    color = _color(rng, noun, held_out)
                fill = noun.fill or ("solid" if rng.random() < 0.8 else pick(rng, FILLS[1:]))
                if style == "sketch":
                    fill = "solid"
                radii.append(_radius(rng, noun, fill, noun.count, len(meaning.nouns)))
                things.append(Thing(shape=noun.shape, color=color, fill=fill))
        placed = _place(rng, radii, things, meaning.relation)
        if placed is not None:
            return Scene(things=tuple(placed), night=meaning.night, style=style, **quality)  # type: ignore[arg-type]
    raise RuntimeError(f"no room for {to_text(meaning)!r} after 200 tries")


def random_noun(
    rng: np.random.Generator, *, color: float, fill: float, size: float, count: int = 1
) -> Noun:
    """Return a noun phrase; `color`, `fill`, `size` are the chances that each is said."""
    while True:
        noun = Noun(
            shape=pick(rng, SHAPES),
            color=pick(rng, tuple(COLORS)) if rng.random() < color else None,
            fill=pick(rng, FILLS[1:]) if rng.random() < fill else None,
            size=pick(rng, SIZES) if rng.random() < size else None,
            count=count,
        )
        if (noun.color, noun.shape) not in HELD_OUT:
            return noun


def random_description(rng: np.random.Generator) -> Description:
    """Return a description of the base model's training distribution."""
    kind = rng.random()
    plain = rng.random() < 0.62
    extra = 0.0 if plain else 0.3
    nouns: tuple[Noun, ...]
    relation = None
    letters = ""
    if kind < 0.04:
        nouns = ()
        letters = "".join(pick(rng, LETTERS) for _ in range(1 + int(rng.integers(3))))
    elif kind < 0.22:
        nouns = (random_noun(rng, color=0.7, fill=extra, size=extra),)
    elif kind < 0.42:
        nouns = (
            random_noun(rng, color=0.55, fill=extra, size=extra, count=2 + int(rng.integers(3))),
        )
    else:
        color = 1.0 if rng.random() < 0.65 else 0.0
        nouns = tuple(random_noun(rng, color=color, fill=extra, size=extra) for _ in range(2))
        relation = pick(rng, RELATIONS) if kind > 0.70 else None
    style = quality = None
    head = rng.random()
    if head < 0.45:
        style = "picture"
    elif head < 0.53 and not letters and not any(n.fill for n in nouns):
        style = "sketch"
    if rng.random() < 0.14:
        quality = pick(rng, QUALITIES_HIGH + QUALITIES_LOW)
        style = style or "picture"
    return Description(
        nouns=nouns, relation=relation, letters=letters, night=bool(rng.random() < 0.08),
        style=style, quality=quality,
    )  # fmt: skip


def training_scene(index: int, seed: int) -> tuple[Scene, str, str]:
    """Return training example `index`: (scene, its true text, its caption, which may be wrong)."""
    rng = np.random.default_rng([SCENES_VERSION, seed, index])
    meaning = random_description(rng)
    scene = scene_for(meaning, rng)
    text = to_text(meaning)
    caption = with_wrong_word(text, rng) if rng.random() < WRONG_WORD_SHARE else text
    return scene, text, caption
