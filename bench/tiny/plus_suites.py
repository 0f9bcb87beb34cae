"""The tiny world's T2I-CompBench++: the six categories of T2I-CompBench-tiny, and numeracy.

There are no prompts of "3d_spatial". The world is flat: its things lie side by side on a plain
ground, at least `GAP` pixels apart, no picture shows what is nearer, and no caption of the base
says "in front of", "behind" or "hidden". The official rule gives nothing to boxes that do not
overlap, so a depth map made up here would measure nothing but itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from bench.api.prompts import Prompt, PromptSuite
from bench.tiny.grammar import to_text
from bench.tiny.scenes import pick
from bench.tiny.suites import (
    COMPBENCH_PER_CATEGORY,
    _collect,
    _common,
    _setting,
    compbench_tiny,
)
from bench.tiny.world import NUMBERS, SHAPES, WORLD_VERSION, Description, Noun

PLUS_SUITES_VERSION = 1
NUMERACY = "numeracy"
COUNTS = ((2, 1), (1, 2), (2, 2), (3, 1), (1, 3))
"""How often two nouns are asked for: the world shows four things at most."""


def _numeracy_draw(rng: np.random.Generator) -> Description:
    """Return one noun two to four times, or two nouns with a number each, nothing else said.

    As in the official prompts the nouns are bare: a word between number and noun would keep the
    official reading from seeing the number.
    """
    if rng.random() < 0.4:
        nouns: tuple[Noun, ...] = (Noun(shape=pick(rng, SHAPES), count=pick(rng, tuple(NUMBERS))),)
    else:
        first, second = (SHAPES[int(i)] for i in rng.permutation(len(SHAPES))[:2])
        one, other = pick(rng, COUNTS)
        nouns = (Noun(shape=first, count=one), Noun(shape=second, count=other))
    return _setting(rng, Description(nouns=nouns))


def _numeracy_meta(meaning: Description) -> dict[str, Any]:
    return {
        "category": NUMERACY,
        "counts": [[noun.shape, noun.count] for noun in meaning.nouns],
        # what GenEval's rules would ask of it, as in the six categories
        "include": [{"class": noun.shape, "count": noun.count} for noun in meaning.nouns],
        "exclude": [{"class": noun.shape, "count": noun.count + 1} for noun in meaning.nouns],
    }


def numeracy_prompt(number: int, meaning: Description) -> Prompt:
    """Return a prompt of the category numeracy with what the rules need to score it."""
    meta = {**_numeracy_meta(meaning), **_common(meaning)}
    text = to_text(meaning)
    return Prompt(id=f"{NUMERACY}-{number:03d}", text=text, tag=NUMERACY, meta=meta)


@lru_cache
def compbench_plus_tiny(split: str = "test") -> PromptSuite:
    """Return T2I-CompBench++-tiny: seven categories, `COMPBENCH_PER_CATEGORY[split]` each."""
    six = compbench_tiny(split)
    prompts = list(six.prompts)
    meanings = _collect(_numeracy_draw, split, COMPBENCH_PER_CATEGORY[split], (7,))
    prompts += [numeracy_prompt(i, meaning) for i, meaning in enumerate(meanings)]
    return PromptSuite(
        name=f"compbench-plus-tiny-{split}",
        version=f"{WORLD_VERSION}.{PLUS_SUITES_VERSION}",
        prompts=tuple(prompts),
        licence=six.licence,
    )
