"""Pictures that compete under several prompts, with what each does not follow known exactly.

A contest is a prompt and pictures of it: some follow it, some another prompt that differs in a word
(a colour, a shape, a count, a relation, or two colours exchanged), some are degraded. That other
prompt competes too: what is wrong under one prompt is right under the other, so that no picture is
better whatever is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL

from bench.tiny.build.choices import clean_scene, degraded, kept_pixels, rendered, through_vae
from bench.tiny.grammar import to_text
from bench.tiny.scenes import pick, random_description
from bench.tiny.world import (
    COLORS,
    FILLS,
    HELD_OUT,
    LETTERS,
    QUALITIES_LOW,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Noun,
    Scene,
)

SAME_PLACES = 0.5
"""Of wrong pictures, the share that leaves all else of the right one where it is."""
_WORDS: Mapping[str, Sequence[Any]] = {
    "shape": SHAPES, "color": tuple(COLORS), "fill": FILLS[1:], "size": SIZES, "count": (2, 3, 4),
}  # fmt: skip
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How one picture of a contest is drawn.

    Attributes:
        errors: chances of 0, 1, 2, … words of the prompt not followed.
        degraded: chance of a fault of the quality axis.
        like: the picture whose scene it shares, or None.
    """

    errors: tuple[float, ...] = (1.0,)
    degraded: float = 0.0
    like: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contests:
    """N contests of K pictures under T = 2 prompts.

    Attributes:
        texts: (N, 2): the prompt, and another that one of the pictures follows.
        pixels: (N, K, 32, 32, 3) uint8.
        errors: (N, 2, K) words of a prompt that a picture does not follow.
        severity: (N, K) how degraded a picture is, 0 to 1.
    """

    texts: list[tuple[str, str]]
    pixels: np.ndarray
    errors: np.ndarray
    severity: np.ndarray


def differences(one: Description, other: Description) -> int:
    """Return in how many words two descriptions of one form differ."""
    letters = sum(a != b for a, b in zip(one.letters, other.letters, strict=True))
    words = sum(
        getattr(a, name) != getattr(b, name)
        for a, b in zip(one.nouns, other.nouns, strict=True)
        for name in _WORDS
    )
    return int(letters + words + (one.relation != other.relation))


def kinds_of(meaning: Description) -> list[str]:
    """Return what can be exchanged in a description: `"swap"` exchanges its two colours."""
    if meaning.letters:
        return ["letters"]
    said = {"shape"} | {n for noun in meaning.nouns for n in _WORDS if getattr(noun, n)}
    if all(noun.count == 1 for noun in meaning.nouns):
        said.discard("count")
    colors = [noun.color for noun in meaning.nouns]
    if len(colors) == 2 and colors[0] != colors[1] and None not in colors:
        said.add("swap")
    return sorted(said | ({"relation"} if meaning.relation else set()))


def altered_evenly(meaning: Description, rng: np.random.Generator) -> Description:
    """Return `meaning` with one exchange, every kind as likely; never a held-out pair."""
    kinds = kinds_of(meaning)
    while True:
        changed = _exchange(meaning, pick(rng, kinds), rng)
        pairs = [(noun.color, noun.shape) for noun in changed.nouns]
        if changed != meaning and not any(pair in HELD_OUT for pair in pairs):
            return changed


def _exchange(meaning: Description, kind: str, rng: np.random.Generator) -> Description:
    if kind == "letters":
        at, text = int(rng.integers(len(meaning.letters))), meaning.letters
        return replace(meaning, letters=text[:at] + pick(rng, LETTERS) + text[at + 1 :])
    if kind == "relation":
        assert meaning.relation is not None
        other = OPPOSITE[meaning.relation] if rng.random() < 0.6 else pick(rng, RELATIONS)
        return replace(meaning, relation=other)
    nouns = list(meaning.nouns)
    if kind == "swap":
        first, second = nouns
        pair = (replace(first, color=second.color), replace(second, color=first.color))
        return replace(meaning, nouns=pair)
    at = pick(rng, [i for i, noun in enumerate(nouns) if _says(noun, kind)])
    said_instead: dict[str, Any] = {kind: pick(rng, _WORDS[kind])}
    nouns[at] = replace(nouns[at], **said_instead)
    return replace(meaning, nouns=tuple(nouns))


def _says(noun: Noun, kind: str) -> bool:
    return noun.count > 1 if kind == "count" else getattr(noun, kind) is not None


def edited(scene: Scene, meaning: Description, other: Description) -> Scene | None:
    """Return the scene of `meaning` with only that changed in which `other` differs.

    None where that takes another layout: another count or size, or another axis of a relation.
    """
    if meaning.letters:
        return replace(scene, letters=other.letters)
    things = list(scene.things)
    if meaning.relation != other.relation:
        if meaning.relation is None or other.relation != OPPOSITE[meaning.relation]:
            return None
        first, second = things
        things = [replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y)]
    start = 0
    for before, after in zip(meaning.nouns, other.nouns, strict=True):
        if (before.count, before.size) != (after.count, after.size):
            return None
        changes: dict[str, Any] = {
            name: getattr(after, name)
            for name in ("shape", "color", "fill")
            if getattr(after, name) != getattr(before, name)
        }
        for i in range(start, start + before.count):
            things[i] = replace(things[i], **changes)
        start += before.count
    if any((thing.color, thing.shape) in HELD_OUT for thing in things):
        return None
    return replace(scene, things=tuple(things))


def draw_contest(
    meaning: Description, entries: Sequence[Entry], rng: np.random.Generator
) -> tuple[Description, list[tuple[Description, Scene, float]]]:
    """Return the other prompt, and of each picture what it follows, its scene and its severity."""
    drawn: list[tuple[Description, Scene, float]] = []
    for entry in entries:
        if entry.like is not None:
            followed, scene, _ = drawn[entry.like]
        else:
            followed = meaning
            for _ in range(int(rng.choice(len(entry.errors), p=entry.errors))):
                followed = altered_evenly(followed, rng)
            same = None
            if drawn and rng.random() < SAME_PLACES and drawn[0][2] == 0:
                same = edited(drawn[0][1], drawn[0][0], followed)
            scene = same or clean_scene(followed, rng)
        severity = 0.0
        if rng.random() < entry.degraded:
            severity = float(rng.uniform(0.2, 1.0))
            scene = degraded(scene, severity, rng)
        drawn.append((followed, scene, severity))
    others = [followed for followed, _, _ in drawn if followed != meaning]
    return others[-1] if others else altered_evenly(meaning, rng), drawn


def make_contests(
    entries: Sequence[Entry], count: int, stream: int, file: Path, vae: AutoencoderKL, share: float
) -> Contests:
    """Return `count` contests; their pixels are kept in `file`.

    Args:
        entries: the pictures of a contest.
        count: contests.
        stream: seed of prompts and pictures.
        file: where the pixels are kept between runs.
        vae: encodes and decodes the pictures of a share of the contests, as all pictures are that
            a base model draws.
        share: of them.
    """
    texts, scenes, errors, severity = [], [], [], []
    for index in range(count):
        rng = np.random.default_rng([stream, index])
        meaning = random_description(rng)
        if meaning.quality in QUALITIES_LOW:  # its best picture is poor
            meaning = replace(meaning, quality=None)
        other, drawn = draw_contest(meaning, entries, rng)
        texts.append((to_text(meaning), to_text(other)))
        scenes.append([scene for _, scene, _ in drawn])
        errors.append([[differences(asked, f) for f, _, _ in drawn] for asked in (meaning, other)])
        severity.append([depth for _, _, depth in drawn])
    again = np.random.default_rng([stream, count]).random(count) < share
    return Contests(
        texts=texts,
        pixels=kept_pixels(file, lambda: through_vae(vae, rendered(scenes), again)),
        errors=np.array(errors),
        severity=np.array(severity, dtype=np.float32),
    )
