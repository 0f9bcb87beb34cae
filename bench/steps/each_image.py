"""Records about images: whether they stand for each image of a set once. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

from bench.api.errors import ContractError
from bench.api.generation import ImageRecord
from bench.read.folders import few


def require_each_once(
    records: Iterable[Mapping[str, Any]],
    images: Iterable[ImageRecord],
    who: str,
    *,
    optional: Container[str] = (),
) -> None:
    """Make sure that there is one record of each image: a number over others is not the metric.

    Args:
        records: each with `prompt_id` and `ordinal`.
        images: those that they are of.
        who: gave them, for the message.
        optional: ids of prompts whose images may have none.

    Raises:
        ContractError: one says of no image that it is its own, or of an image that is not there; or
            an image has none, or several.
    """
    found: Counter[tuple[Any, Any]] = Counter()
    for number, record in enumerate(records):
        if not {"prompt_id", "ordinal"} <= record.keys():
            raise ContractError(
                f"{who}: record {number} has no prompt_id and ordinal, but {few(list(record), 8)}; "
                "expected those of its image."
            )
        found[record["prompt_id"], record["ordinal"]] += 1
    known = [(image.prompt_id, image.ordinal) for image in images]
    wrong: dict[str, list[tuple[Any, Any]]] = {
        "no record of": [key for key in known if key not in found and key[0] not in optional],
        "several records of": [key for key, count in found.items() if count > 1],
        "records of what is no image of the set,": sorted(found.keys() - set(known), key=str),
    }
    told = [
        f"{what} {few([f'{prompt}/{ordinal}' for prompt, ordinal in keys])} ({len(keys)} of "
        f"{len(known)} images)"
        for what, keys in wrong.items()
        if keys
    ]
    if told:
        raise ContractError(
            f"{who}: {'; '.join(told)}. Expected one record of each image, with nothing (null) for "
            "what does not count: a mean over other images is another number."
        )
