"""Which nouns of a T2I-CompBench prompt are detected, from its tagged words.

The tagger is not part of the harness: words and tags come from a spaCy run or a stored file.
Source: Karine-Huang/T2I-CompBench@1b70949:UniDet_eval/2D_spatial_eval.py `main`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

NOUN, PROPER_NOUN, ADJECTIVE = "NOUN", "PROPN", "ADJ"
COMPLEX_PREPOSITIONS = frozenset(
    {
        "on top of",
        "on bottom of",
        "on the left",
        "on the right",
        "next to",
        "on side of",
        "near",
    }
)
_LONGEST = 3


class Word(NamedTuple):
    """A token and its universal part-of-speech tag."""

    text: str
    tag: str


Objects = tuple[str | None, str | None]


def spatial_objects(words: Sequence[Word]) -> Objects:
    """Return the first and the last noun of a spatial prompt.

    Raises:
        ValueError: the prompt has no noun.
    """
    nouns = [word.text for word in words if word.tag == NOUN]
    if not nouns:
        raise ValueError(f"no noun in {' '.join(w.text for w in words)!r}")
    return nouns[0], nouns[-1]


def complex_objects(words: Sequence[Word]) -> Objects:
    """Return the nouns around the one preposition of a complex prompt, or (None, None).

    Before it the nearest noun or proper noun; after it the first noun, or failing any, the last
    word of the first run of proper nouns that does not end the prompt. Unless exactly two words
    are found in all (one preposition, both sides), nothing counts as named.
    """
    found: list[str] = []
    for start in range(len(words)):
        length = _preposition_length(words, start)
        if length:
            found += _before(words[:start]) + _after(words[start + length :])
    return (found[0], found[1]) if len(found) == 2 else (None, None)


def _preposition_length(words: Sequence[Word], start: int) -> int:
    for length in range(_LONGEST, 0, -1):
        if " ".join(w.text for w in words[start : start + length]) in COMPLEX_PREPOSITIONS:
            return length
    return 0


def _before(words: Sequence[Word]) -> list[str]:
    nouns = [word.text for word in words if word.tag in (NOUN, PROPER_NOUN)]
    return nouns[-1:]


def _after(words: Sequence[Word]) -> list[str]:
    nouns = [word.text for word in words if word.tag == NOUN]
    if nouns:
        return nouns[:1]
    for word, following in pairwise(words):
        if word.tag == PROPER_NOUN and following.tag != PROPER_NOUN:
            return [word.text]
    return []


def without_adjectives(words: Sequence[Word]) -> str:
    """Return the text CLIP is asked of a complex prompt (CLIPScore_eval/CLIP_similarity.py)."""
    return " ".join(word.text for word in words if word.tag != ADJECTIVE)
