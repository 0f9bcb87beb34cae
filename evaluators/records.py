"""Stored predictions looked up by image, with a refusal where one is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, Record

_SHOWN = 5


def images_per_prompt(suite: PromptSuite, predictions: Iterable[Predictions]) -> int:
    """Return how many images were asked of a prompt, by the largest ordinals that predictions have.

    0 without any; a prompt that is asked several times has so many times as many.
    """
    largest: dict[str, int] = {}
    for record in (record for p in predictions for record in p.records):
        prompt_id, ordinal = record["prompt_id"], record["ordinal"]
        if ordinal >= largest.get(prompt_id, 0):
            largest[prompt_id] = ordinal
    return suite.images_per_prompt(largest)


def by_image(
    suite: PromptSuite,
    predictions: Mapping[str, Predictions],
    role: str,
    *,
    evaluator: str,
    images: int,
    wanted: Callable[[Prompt], bool] = lambda _: True,
) -> dict[tuple[str, int], Record]:
    """Return back-end `role`'s records by (prompt id, ordinal), complete for the wanted prompts.

    Records of prompts outside the suite, or not wanted, are left out.

    Args:
        suite: the prompts.
        predictions: by role.
        role: which back-end.
        evaluator: named in the messages.
        images: images per prompt that must be there, of one that is asked once.
        wanted: whether a prompt's images must have a record.

    Raises:
        IncompleteError: a wanted image has no record; the message names the images.
        ValueError: two records for one image.
    """
    needed = [prompt for prompt in suite if wanted(prompt)]
    ids = {prompt.id for prompt in needed}
    found: dict[tuple[str, int], Record] = {}
    for record in predictions[role].records if role in predictions else ():
        key = (record["prompt_id"], record["ordinal"])
        if key[0] not in ids:
            continue
        if key in found:
            raise ValueError(f"{evaluator}: two {role} predictions for image {key[0]}/{key[1]}")
        found[key] = record
    # a set without any image lacks at least the first one of each prompt
    keys = [(prompt.id, k) for prompt in needed for k in prompt.ordinals(max(images, 1))]
    missing = [f"{pid}/{k}" for pid, k in keys if (pid, k) not in found]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise IncompleteError(
            f"{evaluator}: no {role} prediction for {len(missing)} of {len(keys)} images: {shown}. "
            f"Run the {role} back-end on the complete image set first."
        )
    return found


def finite(value: Any, record: Mapping[str, Any], what: str) -> float:
    """Return `value` as a float.

    Raises:
        ValueError: it is NaN, infinite or no number; the message names the image and `what`.
    """
    name = f"{record.get('prompt_id')}/{record.get('ordinal')}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"image {name}: {what} is {value!r}, expected a number") from None
    if not math.isfinite(number):
        raise ValueError(
            f"image {name}: {what} is {number}. A back-end that answers NaN or infinity is broken; "
            "its answer is never counted as 0."
        )
    return number


def column(records: Sequence[Record], key: str) -> list[float]:
    """Return `record[key]` of each record as finite floats (ValueError names the record)."""
    return [finite(record[key], record, key) for record in records]
