"""Delete-block jackknife for distribution metrics: FID, inception score, KID.

These are functionals of a whole set, not means over images, and a plain bootstrap of them is
biased: a resampled set repeats images, so its distance is larger than that of the set itself and
the percentile interval misses its own estimate. Leaving out one block of prompts at a time has no
such repetition, and with additive sufficient statistics costs no feature pass.

Source: Busing, Meijer and van der Leeden, Statistics and Computing 9 (1999) 3-8 (blocks of
unequal size); Künsch, Annals of Statistics 17 (1989) 1217-1241 (delete-block).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.api.errors import ProtocolError
from bench.api.estimate import Estimate
from bench.stats.student import half_width_factor

BLOCK_JACKKNIFE = "block-jackknife"
DEFAULT_BLOCKS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Jackknife:
    """What leaving out blocks says of a value.

    Attributes:
        value: the functional of all images.
        bias: estimated bias of `value` as an estimate of the limit of infinitely many images.
        stderr: standard error of `value`.
        blocks: number of blocks.
        n: number of images.
    """

    value: float
    bias: float
    stderr: float
    blocks: int
    n: int

    def estimate(
        self, *, clusters: int | None = None, bias_corrected: bool = False, level: float = 0.95
    ) -> Estimate:
        """Return an Estimate with a t interval of blocks-1 degrees of freedom.

        Args:
            clusters: number of prompts, where images of a prompt are correlated.
            bias_corrected: centre on `value - bias`. The default centres on `value`: the interval
                is for the metric at this number of images, which is what tables compare.
            level: confidence level.
        """
        value = self.value - self.bias if bias_corrected else self.value
        half = half_width_factor(level, self.blocks - 1) * self.stderr
        return Estimate(
            value=value,
            stderr=self.stderr,
            low=value - half,
            high=value + half,
            n=self.n,
            clusters=clusters,
            interval=BLOCK_JACKKNIFE + ("-bias-corrected" if bias_corrected else ""),
        )


def combine(value: float, leave_out: Sequence[float], sizes: Sequence[int]) -> Jackknife:
    """Combine a functional's values without each block; the blocks may differ in size.

    Use it directly for functionals without additive statistics (KID from a kernel matrix).

    Args:
        value: the functional of all images.
        leave_out: per block, the functional without it.
        sizes: per block, its number of images.

    Raises:
        ValueError: fewer than two blocks, unequal lengths, an empty block, or a value that is
            NaN or infinite (the block is named).
    """
    if len(leave_out) != len(sizes) or len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            "a jackknife needs two or more blocks, none empty, with one value each; got "
            f"{len(leave_out)} values for blocks of sizes {list(sizes)}"
        )
    broken = [j for j, v in enumerate(leave_out) if not math.isfinite(v)]
    if broken or not math.isfinite(value):
        where = f"without block {broken[0]}" if broken else "of all images"
        raise ValueError(f"the functional {where} is NaN or infinite")
    without = np.asarray(leave_out, dtype=np.float64)
    n, blocks = sum(sizes), len(sizes)
    shares = np.asarray(sizes, dtype=np.float64) / n
    centre = blocks * value - float(np.sum((1.0 - shares) * without))
    pseudo = value / shares - (1.0 / shares - 1.0) * without
    variance = float(np.mean((pseudo - centre) ** 2 / (1.0 / shares - 1.0)))
    return Jackknife(
        value=value, bias=value - centre, stderr=math.sqrt(variance), blocks=blocks, n=n
    )


def assign_blocks(
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
    *,
    blocks: int = DEFAULT_BLOCKS,
) -> NDArray[np.int64]:
    """Deal prompts to blocks: all images of a prompt to one, each task evenly over all.

    Depends on the prompts only, so rows over the same prompts get the same blocks.

    Args:
        clusters: n prompt ids, one per image.
        strata: n task tags.
        blocks: number of blocks; no more are made than there are prompts.

    Returns:
        Shape (n,): the block of each image, from 0 to the number of blocks less one.

    Raises:
        ValueError: fewer than two prompts or blocks, unequal lengths, or a prompt in two tasks.
    """
    prompts = [str(c) for c in clusters]
    tags = [""] * len(prompts) if strata is None else [str(s) for s in strata]
    tag_of: dict[str, str] = {}
    for prompt, tag in zip(prompts, tags, strict=True):
        if tag_of.setdefault(prompt, tag) != tag:
            raise ValueError(f"prompt {prompt!r} stands in tasks {tag_of[prompt]!r} and {tag!r}")
    if len(tag_of) < 2 or blocks < 2:
        raise ValueError(f"need two prompts and two blocks, got {len(tag_of)} and {blocks}")
    ranked = sorted(
        tag_of, key=lambda p: (tag_of[p], hashlib.sha256(f"block\x1f{p}".encode()).digest())
    )
    block_of = {prompt: rank % min(blocks, len(ranked)) for rank, prompt in enumerate(ranked)}
    return np.array([block_of[prompt] for prompt in prompts], dtype=np.int64)


def require_equal_n(counts: Mapping[str, int], metric: str) -> int:
    """Return the number of images all rows share.

    FID, inception score and their like depend on the number of images, so rows measured on
    different numbers must not stand in one column.

    Raises:
        ProtocolError: the rows differ; each row is named with its number.
        ValueError: no row.
    """
    if not counts:
        raise ValueError(f"{metric}: no rows to compare")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{row}: {n}" for row, n in counts.items())
        raise ProtocolError(
            f"{metric} depends on the number of images and the rows differ: {listed}. "
            "Measure all rows on the same prompts and images per prompt."
        )
    return next(iter(counts.values()))
