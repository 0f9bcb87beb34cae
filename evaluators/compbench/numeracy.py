"""T2I-CompBench++'s numeracy: are the things of a prompt there, and as many as it says.

Source: Karine-Huang/T2I-CompBench@1b70949:UniDet_eval/numeracy_eval.py (`calculate_iou`, `main`;
changed on 2025-01-04).
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.detections import Box, Detection

SAME = 0.9
SYNONYMS = {
    "boy": "person",
    "girl": "person",
    "man": "person",
    "woman": "person",
    "ship": "boat",
    "telivision": "tv",
    "goldfish": "fish",
    "painting": "picture",
}
"""Nouns of prompts by another name of the detector's; "telivision" is upstream's spelling."""
ONE = ("a", "an", "one")
NUMBERS = {
    **dict.fromkeys(ONE, 1),
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
}

Count = tuple[str, int]
"""A noun in the singular and how many the prompt asks for."""


def one_thing(a: Box, b: Box) -> bool:
    """Whether two boxes are one: they overlap, or one contains the other, by more than 0.9.

    In whole pixels: edges count (+1).
    """
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    shared = wide * high
    area_a, area_b = ((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b))
    shares = (shared / (area_a + area_b - shared), shared / area_a, shared / area_b)
    return any(share > SAME for share in shares)


def distinct_labels(detections: Sequence[Detection]) -> list[str]:
    """Return the labels of the detections, without those that repeat an earlier one."""
    kept: list[Detection] = []
    for found in detections:
        if not any(k.label == found.label and one_thing(found.box, k.box) for k in kept):
            kept.append(found)
    return [d.label for d in kept]


def asked_counts(words: Sequence[str], objects: Sequence[Count | tuple[str, str]]) -> list[Count]:
    """Return what a prompt asks for, in its order.

    A number word is followed by a noun of two words, or failing that of one. Singular and plural
    of a two-word noun, and any number before a singular one, are read as upstream reads them.

    Args:
        words: the prompt's tokens.
        objects: (singular, plural) of the nouns there are.

    Raises:
        ValueError: nothing is asked for (upstream divides by zero).
    """
    singulars = [str(o[0]) for o in objects]
    plurals = [str(o[1]) for o in objects]
    found: list[Count] = []
    for place, word in enumerate(words):
        if word not in NUMBERS:
            continue
        one, two = " ".join(words[place + 1 : place + 2]), " ".join(words[place + 1 : place + 3])
        if place < len(words) - 2 and (two in singulars or two in plurals):
            if two in plurals and word not in ONE:
                found.append((singulars[plurals.index(two)], NUMBERS[word]))
            else:
                found.append((two, 1))
        elif one in singulars and word in ONE:
            found.append((one, 1))
        elif one in plurals:
            found.append((singulars[plurals.index(one)], NUMBERS[word]))
    if not found:
        raise ValueError(f"no number with a noun in {' '.join(words)!r}")
    return found


def numeracy_score(
    detections: Sequence[Detection], asked: Sequence[Count], *, faithful: bool = True
) -> float:
    """Return the share of nouns that are there, and of those that are there as often as asked.

    Each of n nouns gives 0.5 / n for presence and 0.5 / n for its number. A noun that is no label
    stands for the labels that contain it. `faithful` lets two nouns of one label ("a boy and two
    girls": persons) be compared with the count of both; otherwise their numbers are summed first.

    Args:
        detections: by falling score.
        asked: nouns and numbers.
        faithful: whether the quirk is kept.

    Raises:
        ValueError: nothing is asked for.
    """
    if not asked:
        raise ValueError("the prompt asks for nothing")
    labels = distinct_labels(detections)
    named = [(SYNONYMS.get(noun, noun), number) for noun, number in asked]
    score = 0.0
    for noun, number in named:
        if noun not in labels:
            labels = [noun if noun in label else label for label in labels]
        wanted = number if faithful else sum(n for other, n in named if other == noun)
        if noun in labels:
            score += 0.5 / len(named)
            if labels.count(noun) == wanted:
                score += 0.5 / len(named)
    return score
