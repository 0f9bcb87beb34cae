"""Rand-removal: a prompt with a random half of its words taken out.

Source: KU-MIIL/DDSPO@f8e47a5:data_prep/random_removal.py. Words are what `str.split` gives, not
tokens. Of L words, n = max(1, floor(ratio L)) are removed, with a ratio uniform in [0.4, 0.7];
because of the floor less than 40 % go from a short prompt.
"""

from __future__ import annotations

from random import Random

VERSION = 1
LEAST_RATIO, MOST_RATIO = 0.4, 0.7
TRIALS = 5
"""Variants drawn for a prompt, before duplicates collapse."""


def rand_removal(
    prompt: str, rng: Random, *, least: float = LEAST_RATIO, most: float = MOST_RATIO
) -> str | None:
    """Return one variant: the words that are left, in order, joined by single spaces.

    `least` and `most` bound the share of words removed. None where nothing would be left: the
    prompt has fewer than two words.
    """
    words = prompt.split()
    if len(words) < 2:
        return None
    ratio = rng.uniform(least, most)
    removed = set(rng.sample(range(len(words)), max(1, int(ratio * len(words)))))
    return " ".join(word for place, word in enumerate(words) if place not in removed)


def variants(
    prompt: str, rng: Random, *, least: float = LEAST_RATIO, most: float = MOST_RATIO
) -> tuple[str, ...]:
    """Return the distinct variants of `TRIALS` draws, in the order they were first drawn."""
    drawn = [rand_removal(prompt, rng, least=least, most=most) for _ in range(TRIALS)]
    return tuple(dict.fromkeys(variant for variant in drawn if variant is not None))


def pick(
    prompt: str, rng: Random, *, least: float = LEAST_RATIO, most: float = MOST_RATIO
) -> str | None:
    """Return one of the prompt's variants, each with the same chance; None where there is none."""
    found = variants(prompt, rng, least=least, most=most)
    return rng.choice(found) if found else None
