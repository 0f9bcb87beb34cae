"""Prompts of the tiny world on which a score can change, and the hard ones by themselves.

The tiny VAE hardly carries a night scene or a sketch: where counting asks for one, not even the
true picture, encoded and decoded, is read aright, and the bases score .12 to .14. In a mean over
all prompts such prompts are dead weight, so they are suites of their own here: `live` suites are
without them, `hard` suites of nothing else (docs/protocol.md).

What is drawn is what `bench.tiny.suites` draws, so a text's split is the same there and here. The
two tasks of few texts take every live text that there is, each asked as often as brings its task to
as many images as the others have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import permutations, product

import numpy as np

from bench.api.prompts import Prompt, PromptSuite
from bench.tiny.grammar import to_text
from bench.tiny.plus_suites import _numeracy_draw, numeracy_prompt
from bench.tiny.suites import (
    COMPBENCH_CATEGORIES,
    GENEVAL_TASKS,
    _collect,
    _compbench_draw,
    _Draw,
    _geneval_draw,
    _held_out,
    compbench_prompt,
    geneval_prompt,
    split_of,
)
from bench.tiny.world import (
    FILLS,
    QUALITIES_HIGH,
    RELATIONS,
    SHAPES,
    SIZES,
    WORLD_VERSION,
    Description,
    Noun,
)

LIVE_SUITES_VERSION = 1
GENEVAL_LIVE = {"validation": 42, "test": 54}
"""Prompts a task; of single objects and positions all that there are."""
GENEVAL_HARD = {"validation": 12, "test": 18}
COMPBENCH_LIVE = {"validation": 18, "test": 26}
"""Prompts a category."""
COMPBENCH_HARD = {"validation": 8, "test": 12}

_Prompts = Callable[[str, int, Description], Prompt]


def is_hard(meaning: Description) -> bool:
    """Whether the tiny VAE hardly carries it: a night scene or a sketch."""
    return meaning.night or meaning.style == "sketch"


@lru_cache
def geneval_tiny_live(split: str) -> PromptSuite:
    """Return GenEval-tiny without hard prompts: `GENEVAL_LIVE[split]` a task.

    Single objects and positions are all that there are. In the test split they are fewer than of
    the other tasks and are asked more often (`Prompt.times`), so that no task has fewer images.
    """
    count = GENEVAL_LIVE[split]
    prompts: list[Prompt] = []
    for number, task in enumerate(GENEVAL_TASKS):
        if task in _FEW:
            meanings = _all_live(task, split)
        else:
            meanings = _collect(_only(_geneval_draw(task), hard=False), split, count, (11, number))
        prompts += _asked(meanings, task, geneval_prompt, count if split == "test" else 0)
    return _suite(f"geneval-tiny-live-{split}", prompts)


@lru_cache
def geneval_tiny_hard(split: str) -> PromptSuite:
    """Return GenEval-tiny's night scenes and sketches: `GENEVAL_HARD[split]` a task."""
    prompts: list[Prompt] = []
    for number, task in enumerate(GENEVAL_TASKS):
        draw = _only(_geneval_draw(task), hard=True)
        meanings = _collect(draw, split, GENEVAL_HARD[split], (12, number))
        prompts += _asked(meanings, task, geneval_prompt)
    return _suite(f"geneval-tiny-hard-{split}", prompts)


@lru_cache
def compbench_tiny_live(split: str, plus: bool = False) -> PromptSuite:
    """Return T2I-CompBench-tiny without hard prompts: `COMPBENCH_LIVE[split]` a category.

    What is left of "non_spatial" is quality, and of "complex" two things and where they are: the
    others of these two categories are night scenes and sketches.

    Args:
        split: "validation" or "test".
        plus: with the category numeracy, as T2I-CompBench++.
    """
    return _compbench(split, plus, hard=False)


@lru_cache
def compbench_tiny_hard(split: str, plus: bool = False) -> PromptSuite:
    """Return its night scenes and sketches: `COMPBENCH_HARD[split]` a category."""
    return _compbench(split, plus, hard=True)


def _compbench(split: str, plus: bool, *, hard: bool) -> PromptSuite:
    kind, count = "hard" if hard else "live", (COMPBENCH_HARD if hard else COMPBENCH_LIVE)[split]
    prompts: list[Prompt] = []
    for number, category in enumerate(COMPBENCH_CATEGORIES):
        draw = _only(_compbench_draw(category), hard=hard)
        meanings = _collect(draw, split, count, (13, int(hard), number))
        prompts += _asked(meanings, category, compbench_prompt)
    if plus:
        draw = _only(_numeracy_draw, hard=hard)
        meanings = _collect(draw, split, count, (14, int(hard)))
        prompts += [numeracy_prompt(i, meaning) for i, meaning in enumerate(meanings)]
    return _suite(f"compbench{'-plus' if plus else ''}-tiny-{kind}-{split}", prompts)


def _only(draw: _Draw, *, hard: bool) -> _Draw:
    def drawn(rng: np.random.Generator) -> Description:
        while is_hard(meaning := draw(rng)) != hard:
            pass
        return meaning

    return drawn


def _asked(
    meanings: list[Description], tag: str, make: _Prompts, at_least: int = 0
) -> Iterator[Prompt]:
    """Yield the prompts, each asked so often that there are `at_least` as many in all."""
    times = max(1, -(-at_least // len(meanings)))
    for i, meaning in enumerate(meanings):
        prompt = make(tag, i, meaning)
        yield Prompt(id=prompt.id, text=prompt.text, tag=tag, meta=prompt.meta, times=times)


def _single_objects() -> Iterator[tuple[Noun, ...]]:
    for shape, fill, size in product(SHAPES, (None, *FILLS[1:]), (None, *SIZES)):
        yield (Noun(shape=shape, fill=fill, size=size),)


def _ordered_pairs() -> Iterator[tuple[Noun, ...]]:
    for first, second in permutations(SHAPES, 2):
        yield Noun(shape=first), Noun(shape=second)


_FEW = {"single_object": (_single_objects, (None,)), "position": (_ordered_pairs, RELATIONS)}
"""Tasks with fewer live texts than a suite wants: what they ask for, and the relations."""
_HEADS = ((None, None), ("picture", None), *(("picture", q) for q in QUALITIES_HIGH))
"""(style, quality) of live prompts."""


@lru_cache
def _all_live(task: str, split: str) -> list[Description]:
    """Return every live meaning of a task of few texts, in a fixed order."""
    nouns_of, relations = _FEW[task]
    found = (
        Description(nouns=nouns, relation=relation, style=style, quality=quality)
        for nouns, relation, (style, quality) in product(nouns_of(), relations, _HEADS)
    )
    return [
        meaning
        for meaning in found
        if split_of(to_text(meaning)) == split and (split == "test" or not _held_out(meaning))
    ]


def _suite(name: str, prompts: list[Prompt]) -> PromptSuite:
    version = f"{WORLD_VERSION}.{LIVE_SUITES_VERSION}"
    return PromptSuite(name=name, version=version, prompts=tuple(prompts), licence="Apache-2.0")
