"""Descriptions as English text, and captions with a wrong word."""

from __future__ import annotations

import numpy as np

from bench.tiny.world import (
    COLORS,
    FILLS,
    NUMBERS,
    PLURALS,
    QUALITIES_HIGH,
    QUALITIES_LOW,
    RELATIONS,
    SHAPES,
    SIZES,
    Description,
    Noun,
)

_EXCHANGES: tuple[tuple[str, ...], ...] = (
    SHAPES,
    tuple(PLURALS.values()),
    tuple(COLORS),
    FILLS[1:],
    SIZES,
    tuple(NUMBERS.values()),
    ("left", "right"),
    ("above", "below"),
    QUALITIES_HIGH + QUALITIES_LOW,
)


def noun_phrase(noun: Noun) -> str:
    """Return e.g. `"a small striped red circle"` or `"three blue squares"`."""
    words = ["a" if noun.count == 1 else NUMBERS[noun.count]]
    words += [w for w in (noun.size, noun.fill, noun.color) if w and w != "solid"]
    words.append(noun.shape if noun.count == 1 else PLURALS[noun.shape])
    return " ".join(words)


def to_text(meaning: Description) -> str:
    """Return the prompt that says `meaning`."""
    if meaning.letters:
        body = f'a sign reading "{meaning.letters.lower()}"'
    elif len(meaning.nouns) == 2:
        first, second = map(noun_phrase, meaning.nouns)
        body = f"{first} {meaning.relation or 'and'} {second}"
    else:
        body = noun_phrase(meaning.nouns[0])
    style = meaning.style or ("picture" if meaning.quality else None)
    if style:
        head = f"a {meaning.quality} {style}" if meaning.quality else f"a {style}"
        body = f"{head} of {body}"
    return body + (" at night" if meaning.night else "")


def with_wrong_word(text: str, rng: np.random.Generator, count: int = 1) -> str:
    """Return `text` with content words exchanged for others of their class (a caption error).

    Args:
        text: a prompt.
        rng: which words, and for which.
        count: how many words; where the text has fewer content words, all of them.
    """
    words = text.split(" ")
    spots = [(i, group) for i, w in enumerate(words) for group in _EXCHANGES if w in group]
    for _ in range(min(count, len(spots))):
        i, group = spots.pop(int(rng.integers(len(spots))))
        others = [w for w in group if w != words[i]]
        words[i] = others[int(rng.integers(len(others)))]
    return " ".join(words)


def vocabulary() -> list[str]:
    """Return every word a prompt can hold (letters of signs aside)."""
    words = {"a", "of", "and", "at", "night", "picture", "sketch", "sign", "reading"}
    for group in (*_EXCHANGES, *(r.split() for r in RELATIONS)):
        words.update(group)
    return sorted(words)
