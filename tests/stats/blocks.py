"""The jackknife of a functional of additive sums, written out: what tests measure coverage of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from bench.api.errors import ProtocolError
from bench.stats.jackknife import Jackknife, combine


class AdditiveSums(Protocol):
    """Sufficient statistics of a set of images: what two disjoint sets have is their sum."""

    @property
    def count(self) -> int:
        """Number of images."""
        ...

    def __add__(self, other: Self, /) -> Self:
        """Return the statistics of both sets together."""
        ...

    def __sub__(self, other: Self, /) -> Self:
        """Return the statistics of this set without `other`, which it contains."""
        ...


Sums = TypeVar("Sums", bound=AdditiveSums)


def block_jackknife(blocks: Sequence[Sums], functional: Callable[[Sums], float]) -> Jackknife:
    """Jackknife a functional of additive sufficient statistics.

    Args:
        blocks: statistics of each block of images. At FID's width of 2048 a block holds 34 MB; a
            lazy sequence is read twice, one block at a time.
        functional: from statistics to the metric, e.g. a Fréchet distance to a fixed reference.

    Raises:
        ValueError: as `combine`.
    """
    total = _total(blocks)
    without = [functional(total - block) for block in blocks]
    return combine(functional(total), without, [block.count for block in blocks])


def paired_block_jackknife(
    blocks_a: Sequence[Sums], blocks_b: Sequence[Sums], functional: Callable[[Sums], float]
) -> Jackknife:
    """Jackknife functional(a) - functional(b), leaving out the same block of prompts in both.

    Args:
        blocks_a: statistics of row a by block.
        blocks_b: statistics of row b; block j holds the same prompts as in row a.
        functional: as `block_jackknife`.

    Raises:
        ProtocolError: the rows have not the same number of images in every block.
        ValueError: as `combine`.
    """
    sizes_a, sizes_b = [x.count for x in blocks_a], [x.count for x in blocks_b]
    if sizes_a != sizes_b:
        raise ProtocolError(
            "a paired jackknife needs the same prompts in the same blocks; the rows have "
            f"{sizes_a} and {sizes_b} images by block. Measure both with the same prompts."
        )
    total_a, total_b = _total(blocks_a), _total(blocks_b)
    without = [
        functional(total_a - a) - functional(total_b - b)
        for a, b in zip(blocks_a, blocks_b, strict=True)
    ]
    return combine(functional(total_a) - functional(total_b), without, sizes_a)


def _total(blocks: Sequence[Sums]) -> Sums:
    if len(blocks) < 2:
        raise ValueError(f"a jackknife needs two or more blocks, got {len(blocks)}")
    total = blocks[0]
    for block in blocks[1:]:
        total = total + block
    return total
