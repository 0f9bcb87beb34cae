"""Inception score from class scores, in float64.

Numbers only: which classifier made the scores, and over how many classes, is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PUBLISHED_SPLITS = 10
PUBLISHED_SEED = 2020


@dataclass(frozen=True, kw_only=True, slots=True)
class InceptionScore:
    """An inception score over splits.

    Attributes:
        mean: mean of the splits' scores, between 1 and the number of classes.
        std: population standard deviation over splits, as published; not a standard error.
        per_split: the scores.
    """

    mean: float
    std: float
    per_split: tuple[float, ...]


def log_softmax(scores: ArrayLike) -> Floats:
    """Return log-probabilities in float64.

    Args:
        scores: shape (n, K), logits or log-probabilities (which stay as they are); -inf is a
            probability of 0.

    Raises:
        ValueError: another shape, NaN or +inf, or a row of -inf only; the image is named.
    """
    z = np.asarray(scores, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 1:
        raise ValueError(f"class scores have shape {z.shape}, expected (n, K)")
    broken = np.flatnonzero(np.isnan(z).any(axis=1) | ~np.isfinite(z.max(axis=1)))
    if broken.size:
        raise ValueError(
            f"class scores of {broken.size} images are NaN or infinite, first image "
            f"{int(broken[0])}; the classifier is broken for it"
        )
    shifted = z - z.max(axis=1, keepdims=True)
    log_p: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_p


@dataclass(frozen=True, slots=True, eq=False)
class ClassSums:
    """Sufficient statistics of a single-split inception score; disjoint sets add.

    Attributes:
        count: number of images.
        probability: shape (K,), summed class probabilities.
        negative_entropy: sum over images of Σ_k p log p, in nats.
    """

    count: int
    probability: Floats
    negative_entropy: float

    @classmethod
    def of(cls, scores: ArrayLike) -> Self:
        """Return the statistics of `scores`, shape (n, K); errors as `log_softmax`."""
        log_p = log_softmax(scores)
        p = np.exp(log_p)
        return cls(len(p), p.sum(axis=0), float(_x_log_x(p, log_p).sum()))

    def __add__(self, other: Self, /) -> Self:
        """Return the statistics of both sets."""
        return type(self)(
            self.count + other.count,
            self.probability + other.probability,
            self.negative_entropy + other.negative_entropy,
        )

    def __sub__(self, other: Self, /) -> Self:
        """Return the statistics of this set without its subset `other`."""
        return type(self)(
            self.count - other.count,
            # rounding may leave a class that only `other` has a little below 0
            np.clip(self.probability - other.probability, 0.0, None),
            self.negative_entropy - other.negative_entropy,
        )

    def score(self) -> float:
        """Return exp of the mean KL divergence from the marginal, between 1 and K.

        Source: Salimans et al., NeurIPS 2016, §4.

        Raises:
            ValueError: no image.
        """
        if self.count < 1:
            raise ValueError("an inception score needs one image or more")
        marginal = self.probability / self.count
        with np.errstate(divide="ignore"):
            log_marginal = np.log(marginal)
        entropy = -float(_x_log_x(marginal, log_marginal).sum())
        return float(np.exp(entropy + self.negative_entropy / self.count))


def inception_score(
    scores: ArrayLike, *, splits: int = PUBLISHED_SPLITS, seed: int = PUBLISHED_SEED
) -> InceptionScore:
    """Return the inception score over `splits` parts of a seeded permutation.

    The published protocol is that of torch-fidelity: images permuted by
    `numpy.random.RandomState(2020)`, ten parts from i·N//10 to (i+1)·N//10.
    Source: toshas/torch-fidelity@5e211a9:torch_fidelity/metric_isc.py.

    Args:
        scores: shape (n, K), logits or log-probabilities.
        splits: number of parts; 1 keeps all images together (the order is then no matter).
        seed: of the permutation.

    Raises:
        ValueError: as `log_softmax`, or fewer images than parts.
    """
    log_p = log_softmax(scores)
    n = len(log_p)
    if splits < 1 or n < splits:
        raise ValueError(f"cannot make {splits} splits of {n} images; each needs one or more")
    if splits > 1:
        log_p = log_p[np.random.RandomState(seed).permutation(n)]
    per_split = tuple(
        ClassSums.of(log_p[i * n // splits : (i + 1) * n // splits]).score() for i in range(splits)
    )
    return InceptionScore(
        mean=float(np.mean(per_split)), std=float(np.std(per_split)), per_split=per_split
    )


def _x_log_x(x: Floats, log_x: Floats) -> Floats:
    """Return x log x with 0 log 0 = 0."""
    return np.where(x > 0.0, x * np.where(x > 0.0, log_x, 0.0), 0.0)
