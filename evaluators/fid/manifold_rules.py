"""Precision and recall of a sample by manifolds of nearest neighbours. Numbers only.

The manifold of a set is the union of balls about its features, each as wide as the distance to
the k-th nearest other feature. Precision is the share of the sample inside the reference's
manifold, recall the share of the reference inside the sample's.
Source: Kynkäänniemi et al., NeurIPS 2019, §3, k = 3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEIGHBOURS = 3
_CHUNK = 1024

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def radii(features: ArrayLike, *, k: int = NEIGHBOURS) -> Floats:
    """Return shape (n,): squared distance of each feature to its k-th nearest other one.

    Raises:
        ValueError: fewer than k + 1 features.
    """
    x = _checked(features)
    return _radii(x, np.full(len(x), -1), k, 0)[:, 0]


def inside(points: ArrayLike, centres: ArrayLike, squared_radii: ArrayLike) -> Flags:
    """Return shape (n,): whether each point is in a ball about one of the centres.

    Args:
        points: shape (n, d).
        centres: shape (m, d).
        squared_radii: shape (m,).
    """
    x, y = _checked(points), _checked(centres)
    wide = np.asarray(squared_radii, dtype=np.float64)
    found = np.zeros(len(x), dtype=bool)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = (_squared(x[part], y) <= wide).any(axis=1)
    return found


def precision_recall(
    sample: ArrayLike, reference: ArrayLike, *, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Return (precision, recall) of shape-(n, d) features against a reference of shape (m, d).

    Raises:
        ValueError: too few features, unlike widths, or one that is NaN or infinite.
    """
    precision, recall, _ = by_block(sample, reference, np.zeros(len(np.asarray(sample))), k=k)
    return float(precision.mean()), recall


def by_block(
    sample: ArrayLike, reference: ArrayLike, block_of: ArrayLike, *, k: int = NEIGHBOURS
) -> tuple[Flags, float, list[float]]:
    """Return what leaving out blocks of the sample needs, in one pass over the distances.

    Args:
        sample: shape (n, d).
        reference: shape (m, d).
        block_of: shape (n,), the block of each image of the sample, from 0.
        k: which neighbour.

    Returns:
        Shape (n,), whether each image of the sample is in the reference's manifold (precision is
        the mean; it does not change when others are left out); recall of all; recall without each
        block, empty where there is one block only.

    Raises:
        ValueError: as `precision_recall`; what is left without a block counts too.
    """
    x, y = _checked(sample), _checked(reference)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"features of width {x.shape[1]} and {y.shape[1]} do not mix")
    blocks = np.asarray(block_of, dtype=np.int64)
    count = int(blocks.max(initial=0)) + 1
    precise = inside(x, y, radii(y, k=k))
    without = count if count > 1 else 0
    wide = _radii(x, blocks, k, without)
    covered = np.zeros((len(y), 1 + without), dtype=bool)
    for start in range(0, len(y), _CHUNK):
        part = slice(start, start + _CHUNK)
        distance = _squared(y[part], x)
        covered[part, 0] = (distance <= wide[:, 0]).any(axis=1)
        for block in range(without):
            kept = blocks != block
            near = distance[:, kept] <= wide[kept, 1 + block]
            covered[part, 1 + block] = near.any(axis=1)
    shares = covered.mean(axis=0)
    return precise, float(shares[0]), [float(share) for share in shares[1:]]


def _radii(x: Floats, blocks: NDArray[np.int64], k: int, without: int) -> Floats:
    """Return shape (n, 1 + without): squared radii among all, and among those outside each block.

    Rows of a block itself are meaningless in its own column.
    """
    fewest = len(x) - (int(np.bincount(blocks).max()) if without else 0)
    if fewest < k + 1:
        raise ValueError(f"the {k}th neighbour needs {k + 1} images or more, got {fewest}")
    found = np.empty((len(x), 1 + without))
    for start in range(0, len(x), _CHUNK):
        distance = _squared(x[start : start + _CHUNK], x)
        rows = np.arange(len(distance))
        distance[rows, start + rows] = np.inf
        part = slice(start, start + len(distance))
        found[part, 0] = np.partition(distance, k - 1, axis=1)[:, k - 1]
        for block in range(without):
            kept = distance[:, blocks != block]
            found[part, 1 + block] = np.partition(kept, k - 1, axis=1)[:, k - 1]
    return found


def _squared(x: Floats, y: Floats) -> Floats:
    """Return squared distances (n, m); rounding never makes one negative."""
    found: Floats = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2.0 * (x @ y.T)
    return np.maximum(found, 0.0)


def _checked(features: ArrayLike) -> Floats:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"features have shape {x.shape}, expected (n, d)")
    if not np.isfinite(x).all():
        raise ValueError("features are NaN or infinite; the feature network is broken")
    return x
