"""The tiny world's prompt suites: alignment pairs, validation and test, disjoint by their text.

A text's split is decided by its hash alone, so no text can be in two splits, whatever the sizes.
Scenes with a held-out (colour, shape) pair occur only in test suites.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from bench.api.prompts import Prompt, PromptSuite
from bench.tiny.grammar import noun_phrase, to_text
from bench.tiny.scenes import pick, random_description
from bench.tiny.world import (
    COLORS,
    FILLS,
    HELD_OUT,
    QUALITIES_HIGH,
    QUALITIES_LOW,
    RELATIONS,
    SHAPES,
    SIZES,
    WORLD_VERSION,
    Description,
    Noun,
)

SUITES_VERSION = 1
SPLITS = {"train": range(0, 6), "validation": range(6, 8), "test": range(8, 10)}
GENEVAL_TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COMPBENCH_CATEGORIES = ("color", "shape", "texture", "spatial", "non_spatial", "complex")
GENEVAL_PER_TASK = {"validation": 24, "test": 50}
COMPBENCH_PER_CATEGORY = {"validation": 12, "test": 24}
CAPTIONS = {"validation": 200, "test": 600}
PAIR_MIN_WORDS = 6
"""Rand-removal needs prompts of at least this many words."""

OFFICIAL_RELATION = {
    "left of": "on the left of",
    "right of": "on the right of",
    "above": "on the top of",
    "below": "on the bottom of",
}

_Draw = Callable[[np.random.Generator], Description]


def split_of(text: str) -> str:
    """Return the split a text belongs to: six tenths train, two validation, two test."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 10
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def meaning_of(prompt: Prompt) -> Description:
    """Return the description a tiny prompt was made from (kept in its meta)."""
    data: dict[str, Any] = dict(prompt.meta["meaning"])
    nouns = tuple(Noun(**n) for n in data.pop("nouns"))
    return Description(nouns=nouns, **data)


def _held_out(meaning: Description) -> bool:
    return any((n.color, n.shape) in HELD_OUT for n in meaning.nouns)


def _collect(draw: _Draw, split: str, count: int, seed: tuple[int, ...]) -> list[Description]:
    """Draw `count` descriptions with distinct texts of a split; at most 200 draws for each."""
    rng = np.random.default_rng([SUITES_VERSION, WORLD_VERSION, *seed])
    texts: dict[str, Description] = {}
    for _ in range(200 * count):
        meaning = draw(rng)
        text = to_text(meaning)
        if split_of(text) == split and (split == "test" or not _held_out(meaning)):
            texts.setdefault(text, meaning)
        if len(texts) == count:
            return list(texts.values())
    raise RuntimeError(f"only {len(texts)} of {count} distinct {split} texts: widen the grammar")


def _setting(rng: np.random.Generator, meaning: Description) -> Description:
    """Add a head and sometimes night: variety that the scoring rules do not look at."""
    head = rng.random()
    patterned = any(n.fill for n in meaning.nouns)
    style = "picture" if head < 0.75 else None
    quality = None
    if 0.60 < head < 0.75:
        quality = pick(rng, QUALITIES_HIGH)
    elif head > 0.92 and not patterned:
        style = "sketch"
    return replace(meaning, style=style, quality=quality, night=bool(rng.random() < 0.08))


def _two_shapes(rng: np.random.Generator, **said: float) -> tuple[Noun, Noun]:
    while True:
        first, second = (_noun(rng, **said) for _ in range(2))
        if first.shape != second.shape and (first.color is None or first.color != second.color):
            return first, second


def _noun(
    rng: np.random.Generator, *, color: float = 0.0, fill: float = 0.0, size: float = 0.0
) -> Noun:
    """Return a noun that may be one of the held-out pairs."""
    return Noun(
        shape=pick(rng, SHAPES),
        color=pick(rng, tuple(COLORS)) if rng.random() < color else None,
        fill=pick(rng, FILLS[1:]) if rng.random() < fill else None,
        size=pick(rng, SIZES) if rng.random() < size else None,
    )


def _geneval_draw(task: str) -> _Draw:
    def draw(rng: np.random.Generator) -> Description:
        if task == "single_object":
            nouns: tuple[Noun, ...] = (_noun(rng, fill=0.25, size=0.4),)
        elif task == "two_object":
            nouns = _two_shapes(rng, size=0.3)
        elif task == "counting":
            nouns = (replace(_noun(rng, color=0.6), count=2 + int(rng.integers(3))),)
        elif task == "colors":
            nouns = (_noun(rng, color=1.0, fill=0.15, size=0.3),)
        elif task == "position":
            nouns = _two_shapes(rng)
        else:
            nouns = _two_shapes(rng, color=1.0)
        relation = pick(rng, RELATIONS) if task == "position" else None
        return _setting(rng, Description(nouns=nouns, relation=relation))

    return draw


def _geneval_meta(task: str, meaning: Description) -> dict[str, Any]:
    def entry(noun: Noun) -> dict[str, Any]:
        said = {"class": noun.shape, "count": noun.count}
        return {**said, "color": noun.color} if noun.color and task.startswith("color") else said

    include = [entry(n) for n in meaning.nouns]
    meta: dict[str, Any] = {"tag": task}
    if task == "position":
        # as in the official file: the target first, then the object with its place
        include = [include[1], {**include[0], "position": [meaning.relation, 0]}]
    meta["include"] = include
    if task == "counting":
        noun = meaning.nouns[0]
        meta["exclude"] = [{"class": noun.shape, "count": noun.count + 1}]
    return meta


def geneval_prompt(task: str, number: int, meaning: Description) -> Prompt:
    """Return a prompt of a GenEval task with what the rules need to score it."""
    meta = {**_geneval_meta(task, meaning), **_common(meaning)}
    return Prompt(id=f"{task}-{number:03d}", text=to_text(meaning), tag=task, meta=meta)


@lru_cache
def geneval_tiny(split: str = "test") -> PromptSuite:
    """Return GenEval-tiny: six tasks, `GENEVAL_PER_TASK[split]` prompts each."""
    prompts = []
    for number, task in enumerate(GENEVAL_TASKS):
        meanings = _collect(_geneval_draw(task), split, GENEVAL_PER_TASK[split], (1, number))
        for i, meaning in enumerate(meanings):
            prompts.append(geneval_prompt(task, i, meaning))
    return _suite(f"geneval-tiny-{split}", prompts)


def _compbench_draw(category: str) -> _Draw:
    def draw(rng: np.random.Generator) -> Description:
        relation = None
        if category == "color":
            nouns: tuple[Noun, ...] = _two_shapes(rng, color=1.0)
        elif category == "shape":
            nouns = _two_shapes(rng, size=1.0)
        elif category == "texture":
            nouns = _two_shapes(rng, fill=1.0)
        elif category == "spatial":
            nouns, relation = _two_shapes(rng), pick(rng, RELATIONS)
        elif category == "non_spatial":
            meaning = Description(nouns=(_noun(rng, color=0.5),), style="picture")
            kind = rng.random()
            if kind < 0.4:
                quality = pick(rng, QUALITIES_HIGH + QUALITIES_LOW)
                return replace(meaning, quality=quality, night=bool(rng.random() < 0.2))
            if kind < 0.7:
                return replace(meaning, style="sketch", night=bool(rng.random() < 0.3))
            return replace(meaning, night=True)
        else:
            nouns = _two_shapes(rng, color=1.0, fill=0.35, size=0.35)
            relation = pick(rng, RELATIONS) if rng.random() < 0.6 else None
            scenery = bool(relation is None or rng.random() < 0.4)
            meaning = Description(nouns=nouns, relation=relation, style="picture", night=scenery)
            return meaning
        return _setting(rng, Description(nouns=nouns, relation=relation))

    return draw


def _compbench_meta(category: str, meaning: Description) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "category": category,
        "phrases": [noun_phrase(n) for n in meaning.nouns],
        "objects": [n.shape for n in meaning.nouns],
        "relation": OFFICIAL_RELATION[meaning.relation] if meaning.relation else None,
        # what GenEval's rules would ask of it: for comparing the two evaluators image by image
        "include": [
            {"class": n.shape, "count": 1, **({"color": n.color} if n.color else {})}
            for n in meaning.nouns
        ],
    }
    if category == "complex":
        kinds = {(True, False): "spatial", (False, True): "action", (True, True): "spatialaction"}
        meta["complex_kind"] = kinds[(meaning.relation is not None, meaning.night)]
    return meta


def compbench_prompt(category: str, number: int, meaning: Description) -> Prompt:
    """Return a prompt of a T2I-CompBench category with what the rules need to score it."""
    meta = {**_compbench_meta(category, meaning), **_common(meaning)}
    text = to_text(meaning)
    return Prompt(id=f"{category}-{number:03d}", text=text, tag=category, meta=meta)


@lru_cache
def compbench_tiny(split: str = "test") -> PromptSuite:
    """Return T2I-CompBench-tiny: six categories, `COMPBENCH_PER_CATEGORY[split]` prompts each."""
    prompts = []
    for number, category in enumerate(COMPBENCH_CATEGORIES):
        count = COMPBENCH_PER_CATEGORY[split]
        meanings = _collect(_compbench_draw(category), split, count, (2, number))
        for i, meaning in enumerate(meanings):
            prompts.append(compbench_prompt(category, i, meaning))
    return _suite(f"compbench-tiny-{split}", prompts)


@lru_cache
def captions_tiny(split: str = "test") -> PromptSuite:
    """Return the captions for FID and IS: texts of the base's own training distribution."""
    meanings = _collect(random_description, split, CAPTIONS[split], (3,))
    prompts = [
        Prompt(id=f"caption-{i:04d}", text=to_text(m), tag="caption", meta=_common(m))
        for i, m in enumerate(meanings)
    ]
    return _suite(f"captions-tiny-{split}", prompts)


@lru_cache
def pair_prompts_tiny(count: int = 512) -> PromptSuite:
    """Return `count` training prompts of at least six words for preference pairs."""

    def draw(rng: np.random.Generator) -> Description:
        while True:
            meaning = random_description(rng)
            if not meaning.letters and meaning.quality not in QUALITIES_LOW:
                meaning = replace(meaning, style=meaning.style or "picture")
                if len(to_text(meaning).split()) >= PAIR_MIN_WORDS:
                    return meaning

    meanings = _collect(draw, "train", count, (4,))
    prompts = [
        Prompt(id=f"pair-{i:05d}", text=to_text(m), tag="pair", meta=_common(m))
        for i, m in enumerate(meanings)
    ]
    return _suite(f"pairs-tiny-{count}", prompts)


def _common(meaning: Description) -> dict[str, Any]:
    said = {name: getattr(meaning, name) for name in Description.__slots__}
    nouns = [{name: getattr(noun, name) for name in Noun.__slots__} for noun in meaning.nouns]
    data = {**said, "nouns": nouns}
    return {"meaning": data, "held_out": _held_out(meaning)}


def _suite(name: str, prompts: list[Prompt]) -> PromptSuite:
    version = f"{WORLD_VERSION}.{SUITES_VERSION}"
    return PromptSuite(name=name, version=version, prompts=tuple(prompts), licence="Apache-2.0")
