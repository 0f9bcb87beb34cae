"""OneIG-Bench's scoring rules over answers, readings and embeddings. Pure.

Source: OneIG-Bench/OneIG-Benchmark@41b4983: scripts/alignment/alignment_score.py (alignment),
scripts/text/text_utils.py and text_score.py (text), scripts/style/style_score.py (style),
scripts/diversity/diversity_score.py with ssundaram21/dreamsim@db4d16c:dreamsim/model.py
(diversity), scripts/utils/utils.py (black tiles).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_EDIT_DISTANCE = {"EN": 100, "ZH": 50}
"""Edits beyond this count no further, by language."""

HALLUCINATIONS = ("addCriterion", "No text recognized.")
"""Removed from a reading. The instruction asks for the second without its dot: a model that
follows it to the letter has the phrase scored as text. The official code does so too."""

_ACCENTED = "àâäéèêëîïôöùûüçÀÂÄÉÈÊËÎÏÔÖÙÛÜÇ"
_KEPT = re.compile(rf"[^\u4e00-\u9fa5a-zA-Z0-9\s{_ACCENTED}]")
_SPACES = re.compile(r"\s+")
_CHINESE = re.compile("[\u4e00-\u9fff]")

LOSSY_BLACK = 8
"""Largest grey level of a tile that is black but for the noise of a lossy file format."""


def is_yes(answer: str) -> bool:
    """Whether an answer counts as yes: the exact string, neither "yes" nor "Yes."."""
    return answer == "Yes"


def contains_chinese(text: str) -> bool:
    """Whether a text has a character of U+4E00 to U+9FFF."""
    return bool(_CHINESE.search(text))


def normalise_text(text: str) -> str:
    """Return a text without punctuation: CJK, ASCII letters and digits, French accents, spaces.

    Runs of white space become one space; a text with any CJK character loses all of it. The
    wanted text is the printed form of a Python list: its brackets and quotes go here, and it is
    never parsed.
    """
    kept = _KEPT.sub("", text)
    return _SPACES.sub("" if contains_chinese(kept) else " ", kept).strip()


def clean_reading(text: str) -> str:
    """Return what was read without the phrases that are no reading."""
    for phrase in HALLUCINATIONS:
        text = text.replace(phrase, "")
    return text


def edit_distance(a: str, b: str) -> int:
    """Return the Levenshtein distance in characters, case-sensitive."""
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
        previous = row
    return previous[-1]


def matches(wanted: str, read: str) -> tuple[int, int]:
    """Return how many units of `wanted` were read, and how many there are.

    Units are words, or characters where `wanted` has a CJK one; both texts are normalised.
    """
    chinese = contains_chinese(wanted)
    units = Counter(wanted if chinese else wanted.split())
    seen = Counter(read if chinese else read.split())
    return (units & seen).total(), units.total()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One image's reading against the wanted text, both normalised.

    Attributes:
        edits: Levenshtein distance.
        matched, wanted: units read and units wanted.
    """

    edits: int
    matched: int
    wanted: int


def compare_text(wanted: str, read: str) -> Reading:
    """Compare a raw reading with the raw wanted text."""
    target, seen = normalise_text(wanted), normalise_text(clean_reading(read))
    matched, total = matches(target, seen)
    return Reading(edits=edit_distance(seen, target), matched=matched, wanted=total)


def text_score(*, edits: float, complete: float, accuracy: float, limit: int) -> float:
    """Return 1 - min(limit, ED) (1 - CR) (1 - WAC) / limit.

    Args:
        edits: ED, mean edit distance over all images.
        complete: CR, share of images read without an edit.
        accuracy: WAC, units read over units wanted, both summed over all images.
        limit: see `MAX_EDIT_DISTANCE`.
    """
    return 1.0 - min(limit, edits) * (1.0 - complete) * (1.0 - accuracy) / limit


def style_score(cosines: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over encoders of the best cosine to a reference, at least 0.

    Args:
        cosines: by encoder, one cosine to each reference picture of the style.
    """
    return float(np.mean([max(0.0, *values) for values in cosines.values()]))


def distances(embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n, n) distances 1 - Pearson correlation of embeddings (n, d), in float64.

    DreamSim takes the mean off each embedding before the cosine.

    Raises:
        ValueError: an embedding is constant: it has no direction.
    """
    centred = embeddings.astype(np.float64)
    centred = centred - centred.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    if not (norms > 0).all():
        row = int(np.flatnonzero(norms[:, 0] <= 0)[0])
        raise ValueError(f"embedding {row} is constant; its correlation is undefined")
    unit = centred / norms
    found: NDArray[np.float64] = 1.0 - unit @ unit.T
    return found


def is_black(largest: int, *, lossless: bool = True) -> bool:
    """Whether a tile is black, by its largest grey level over pixels and channels.

    Args:
        largest: 0 to 255.
        lossless: the official rule: every pixel exactly black, which a black tile that went
            through a lossy file need not be. False allows `LOSSY_BLACK`.
    """
    return largest <= (0 if lossless else LOSSY_BLACK)
