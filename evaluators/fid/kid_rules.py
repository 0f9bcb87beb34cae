"""Kernel inception distance: unbiased estimates of the squared MMD. Numbers only.

With the cubic kernel k(x, y) = (x·y / d + 1)³ of features of width d. The exact estimate uses all
pairs; the published one averages over random subsets, which is the same in expectation and noisier.
Source: Bińkowski et al., ICLR 2018, §4; GaParmar/clean-fid@e88c4d6:cleanfid/fid.py
`kernel_distance` for subsets and their size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020
_CHUNK = 2048

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class KernelSums:
    """Kernel sums of a sample against itself and a reference, by blocks of images.

    Leaving out a block of the sample subtracts sums; no kernel is evaluated again.

    Attributes:
        sizes: shape (m,), images in each block.
        within: shape (m, m), sums over pairs of blocks, without each image's pair with itself.
        across: shape (m,), sums of each block against the reference.
        reference: sum over pairs of unlike images of the reference.
        references: images in the reference.
    """

    sizes: NDArray[np.int64]
    within: Floats
    across: Floats
    reference: float
    references: int

    def distance(self, without: int | None = None) -> float:
        """Return the unbiased squared MMD, of all images or of those outside a block.

        Raises:
            ValueError: fewer than two images are left on a side.
        """
        kept = np.ones(len(self.sizes), dtype=bool)
        if without is not None:
            kept[without] = False
        n, m = int(self.sizes[kept].sum()), self.references
        if n < 2 or m < 2:
            raise ValueError(f"KID needs two images or more on each side, got {n} and {m}")
        own = float(self.within[np.ix_(kept, kept)].sum()) / (n * (n - 1))
        both = float(self.across[kept].sum()) / (n * m)
        return own + self.reference / (m * (m - 1)) - 2.0 * both


def kernel_sums(features: ArrayLike, reference: ArrayLike, block_of: ArrayLike) -> KernelSums:
    """Return the sums of shape-(n, d) features against a reference of shape (m, d).

    Args:
        features: the sample.
        reference: what it is compared with.
        block_of: shape (n,), the block of each image, from 0.

    Raises:
        ValueError: unlike widths, or a feature that is NaN or infinite.
    """
    x, y = _checked(features, reference)
    blocks = np.asarray(block_of, dtype=np.int64)
    count = int(blocks.max(initial=0)) + 1
    of = np.zeros((len(x), count))
    of[np.arange(len(x)), blocks] = 1.0
    within, across = np.zeros((count, count)), np.zeros(count)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        kernel = _kernel(x[part], x)
        rows = np.arange(len(kernel))
        kernel[rows, start + rows] = 0.0
        within += of[part].T @ (kernel @ of)
        across += of[part].T @ _kernel(x[part], y).sum(axis=1)
    alike = 0.0
    for start in range(0, len(y), _CHUNK):
        kernel = _kernel(y[start : start + _CHUNK], y)
        rows = np.arange(len(kernel))
        alike += float(kernel.sum() - kernel[rows, start + rows].sum())
    return KernelSums(
        sizes=np.bincount(blocks, minlength=count),
        within=within,
        across=across,
        reference=alike,
        references=len(y),
    )


def kid(features: ArrayLike, reference: ArrayLike) -> float:
    """Return the exact unbiased squared MMD; it may be a little below 0. Errors as above."""
    return kernel_sums(features, reference, np.zeros(len(np.asarray(features)))).distance()


def kid_of_subsets(
    features: ArrayLike,
    reference: ArrayLike,
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    seed: int = SEED,
) -> float:
    """Return the mean of the unbiased squared MMD over random subsets, as clean-fid draws them.

    Each subset has `size` images of either side, or as many as the smaller side has, without
    replacement: first of the sample, then of the reference. clean-fid does not seed them;
    torch-fidelity draws the same with the same seed.

    Raises:
        ValueError: as `kernel_sums`, or fewer than two images.
    """
    x, y = _checked(features, reference)
    m = min(len(x), len(y), size)
    if m < 2:
        raise ValueError(f"KID needs two images or more on each side, got {len(x)} and {len(y)}")
    draw = np.random.RandomState(seed)
    total = 0.0
    for _ in range(subsets):
        a = x[draw.choice(len(x), m, replace=False)]
        b = y[draw.choice(len(y), m, replace=False)]
        own = _kernel(a, a) + _kernel(b, b)
        total += (own.sum() - np.trace(own)) / (m * (m - 1)) - 2.0 * _kernel(a, b).sum() / m**2
    return float(total / subsets)


def _kernel(x: Floats, y: Floats) -> Floats:
    found: Floats = (x @ y.T / x.shape[1] + 1.0) ** 3
    return found


def _checked(features: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    x, y = (np.asarray(a, dtype=np.float64) for a in (features, reference))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features have shapes {x.shape} and {y.shape}, expected (n, d), (m, d)")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features are NaN or infinite; the feature network is broken")
    return x, y
