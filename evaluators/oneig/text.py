"""OneIG's text metrics of all images together, with the jackknife of blocks of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimate, Record, UsageError
from evaluators.intervals import jackknifed
from evaluators.oneig.rules import text_score
from evaluators.records import finite

METRICS = ("text", "edit_distance", "completion_rate", "word_accuracy")


def text_estimates(records: Sequence[Record]) -> dict[str, Estimate]:
    """Return `METRICS` of text records (`edits`, `matched`, `wanted`, `edit_limit`); none of none.

    Edit distances, shares and accuracy are averaged over all images first: the score is no mean
    of scores of images.

    Raises:
        UsageError: records of different `edit_limit`.
        ValueError: a value is NaN or infinite, naming the image; or no letter is wanted.
    """
    if not records:
        return {}
    limits = {int(record["edit_limit"]) for record in records}
    if len(limits) > 1:
        raise UsageError(
            f"text prompts of different largest edit distances ({sorted(limits)}) make no common "
            "score; score the languages apart."
        )
    (limit,) = limits
    counts = np.array(
        [[finite(r[key], r, key) for key in ("edits", "matched", "wanted")] for r in records]
    )
    nothing = np.zeros(len(records), dtype=bool)
    found = {}
    for name in METRICS:
        value = _without(nothing, counts=counts, name=name, limit=limit)
        if value is None:
            raise ValueError("the text prompts want no letter at all: there is nothing to compare")
        without = partial(_without, counts=counts, name=name, limit=limit)
        estimate = jackknifed(records, value, without, least=0.0)
        if name != "edit_distance" and estimate.high is not None:
            estimate = replace(estimate, high=min(1.0, estimate.high))
        found[name] = estimate
    return found


def _without(
    block: NDArray[np.bool_], *, counts: NDArray[np.float64], name: str, limit: int
) -> float | None:
    """Return a metric without the images of a block; None where no wanted letter is left."""
    edits, matched, wanted = counts[~block].T
    if wanted.sum() == 0:
        return None
    complete, accuracy = float((edits == 0).mean()), float(matched.sum() / wanted.sum())
    if name == "edit_distance":
        return float(edits.mean())
    if name == "completion_rate":
        return complete
    if name == "word_accuracy":
        return accuracy
    return text_score(edits=float(edits.mean()), complete=complete, accuracy=accuracy, limit=limit)
