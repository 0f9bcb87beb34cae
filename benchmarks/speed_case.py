"""What one comparison of `evaluator_speed.py` is, and what its sides share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from bench.api import ImageSet


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Two ways to one list of numbers, their networks in memory.

    Attributes:
        ours: numbers of the first n images, as the harness computes them.
        published: the same by the published call.
        memory: what keeps what ours would load in memory, while the sides are timed.
        alike: whether the numbers mean the same; else no difference is shown.
        note: what the reader of the row must know.
    """

    ours: Callable[[int], list[float]]
    published: Callable[[int], list[float]]
    memory: Callable[[], AbstractContextManager[Any]] = nullcontext
    alike: bool = True
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row of the table.

    Attributes:
        name: as `--only` has it.
        network: what is computed with, and how much of it.
        published: what it is compared with.
        make: of (folder for files, images, images a forward) the two sides.
        divisor: the share of `--images` that it looks at, for networks that are slow.
    """

    name: str
    network: str
    published: str
    make: Callable[[Path, int, int], Sides]
    divisor: int = 1


def first(images: ImageSet, count: int) -> ImageSet:
    """Return the first `count` images of a set, with the prompts they belong to."""
    records = images.records[:count]
    ids = {record.prompt_id for record in records}
    prompts = tuple(prompt for prompt in images.suite if prompt.id in ids)
    return replace(images, suite=replace(images.suite, prompts=prompts), records=records)


def opened(images: ImageSet) -> Iterator[Image.Image]:
    """Yield the pictures one after another, RGB."""
    for record in images.records:
        with Image.open(images.root / record.path) as picture:
            yield picture.convert("RGB")


def values_of(predictions: Iterable[tuple[Mapping[str, Any], Any]], key: str) -> list[float]:
    """Return the numbers that records hold under `key`, image after image."""
    return [float(value) for record, _ in predictions for value in record[key]]
