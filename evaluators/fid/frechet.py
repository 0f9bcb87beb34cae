"""Fréchet distance between Gaussians fitted to features, and their streaming statistics.

Numbers only: which network made the features, at which resize, is the caller's and belongs to the
metric's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class GaussianSums:
    """Streaming sufficient statistics of a Gaussian, in float64.

    Deviations are kept about the running mean, so nothing cancels when features have a large
    offset. Sums of disjoint sets add; a subset subtracts, which is what leaving out a block needs.
    Source of the update: Chan, Golub and LeVeque, The American Statistician 37 (1983) 242-247.

    Attributes:
        count: number of images.
        mean: shape (d,), in feature units.
        scatter: shape (d, d), summed outer products of deviations from the mean.
    """

    count: int
    mean: Floats
    scatter: Floats

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return the statistics of no image, for features of width `dimension`."""
        return cls(count=0, mean=np.zeros(dimension), scatter=np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, features: ArrayLike) -> Self:
        """Return the statistics of `features`, shape (n, d); errors as `add`."""
        array = np.asarray(features)
        if array.ndim != 2:
            raise ValueError(f"features have shape {array.shape}, expected (n, d)")
        sums = cls.empty(array.shape[1])
        sums.add(array)
        return sums

    def add(self, features: ArrayLike) -> None:
        """Add a batch in place.

        Args:
            features: shape (n, d), any float type.

        Raises:
            ValueError: another shape, or a feature that is NaN or infinite (its row is named,
                counted from the first image added).
        """
        batch = np.asarray(features, dtype=np.float64)
        if batch.ndim != 2 or batch.shape[1] != self.mean.size:
            raise ValueError(f"features have shape {batch.shape}, expected (n, {self.mean.size})")
        broken = np.flatnonzero(~np.isfinite(batch).all(axis=1))
        if broken.size:
            raise ValueError(
                f"features of {broken.size} images are NaN or infinite, first image "
                f"{self.count + int(broken[0])}; the feature network is broken for it"
            )
        if len(batch):
            mean = batch.mean(axis=0)
            centred = batch - mean
            self._merge(len(batch), mean, centred.T @ centred)

    def _merge(self, count: int, mean: Floats, scatter: Floats) -> None:
        total = self.count + count
        gap = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(gap, gap * (self.count * count / total))
        self.mean = self.mean + gap * (count / total)
        self.count = total

    def __add__(self, other: Self, /) -> Self:
        """Return the statistics of both sets (ValueError: unequal widths)."""
        self._require_same_width(other)
        merged = type(self)(count=self.count, mean=self.mean, scatter=self.scatter.copy())
        if other.count:
            merged._merge(other.count, other.mean, other.scatter)
        return merged

    def __sub__(self, other: Self, /) -> Self:
        """Return the statistics of this set without its subset `other`.

        Raises:
            ValueError: unequal widths, or `other` has more images.
        """
        self._require_same_width(other)
        rest = self.count - other.count
        if rest < 0:
            raise ValueError(f"cannot take {other.count} images out of {self.count}")
        if rest == 0:
            return type(self).empty(self.mean.size)
        mean = self.mean + (self.mean - other.mean) * (other.count / rest)
        gap = other.mean - mean
        scatter = self.scatter - other.scatter
        scatter -= np.outer(gap, gap * (rest * other.count / self.count))
        return type(self)(count=rest, mean=mean, scatter=scatter)

    def _require_same_width(self, other: GaussianSums) -> None:
        if self.mean.size != other.mean.size:
            raise ValueError(f"features of width {self.mean.size} and {other.mean.size} do not mix")

    def covariance(self) -> Floats:
        """Return the unbiased covariance (n-1), shape (d, d), as `numpy.cov` does.

        Raises:
            ValueError: fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs two images or more, got {self.count}")
        return self.scatter / (self.count - 1)


class FrechetReference:
    """A reference Gaussian with the factor of its covariance, made once.

    With C = V diag(w) Vᵀ and F = V diag(√w), the eigenvalues of Fᵀ S F are those of C^½ S C^½: the
    trace of the matrix square root of the product needs two symmetric eigenproblems and no matrix
    square root. Eigenvalues that rounding made negative count as 0.

    Args:
        mean: shape (d,).
        covariance: shape (d, d), symmetric.

    Raises:
        ValueError: wrong shapes, an asymmetric covariance, or an entry NaN or infinite.
    """

    def __init__(self, mean: ArrayLike, covariance: ArrayLike) -> None:
        self.mean, self.covariance = _checked(mean, covariance, "reference")
        eigenvalues, vectors = np.linalg.eigh(self.covariance)
        kept = eigenvalues > 0.0
        self._factor: Floats = vectors[:, kept] * np.sqrt(eigenvalues[kept])

    @classmethod
    def from_sums(cls, sums: GaussianSums) -> Self:
        """Return the reference fitted to the images of `sums`."""
        return cls(sums.mean, sums.covariance())

    def distance(self, mean: ArrayLike, covariance: ArrayLike) -> float:
        """Return the squared Fréchet distance to another Gaussian, in squared feature units.

        |m₁ - m₂|² + tr(C₁) + tr(C₂) - 2 tr((C₁C₂)^½); never negative.
        Source: Dowson and Landau, J. Multivariate Analysis 12 (1982) 450-455; Heusel et al.,
        NeurIPS 2017, eq. 6.

        Args:
            mean: shape (d,).
            covariance: shape (d, d), symmetric.

        Raises:
            ValueError: as the constructor, or a width other than the reference's.
        """
        other_mean, other_covariance = _checked(mean, covariance, "measured")
        if other_mean.size != self.mean.size:
            raise ValueError(
                f"measured features have width {other_mean.size}, the reference {self.mean.size}"
            )
        gap = other_mean - self.mean
        product = self._factor.T @ other_covariance @ self._factor
        eigenvalues = np.linalg.eigvalsh(0.5 * (product + product.T))
        root_trace = float(np.sqrt(np.clip(eigenvalues, 0.0, None)).sum())
        traces = float(np.trace(self.covariance) + np.trace(other_covariance))
        return max(0.0, float(gap @ gap) + traces - 2.0 * root_trace)

    def distance_to(self, sums: GaussianSums) -> float:
        """Return the distance to the Gaussian fitted to the images of `sums`."""
        return self.distance(sums.mean, sums.covariance())


def frechet_distance(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
    """Return the squared Fréchet distance between two Gaussians, as `FrechetReference.distance`."""
    return FrechetReference(mean_a, covariance_a).distance(mean_b, covariance_b)


def _checked(mean: ArrayLike, covariance: ArrayLike, what: str) -> tuple[Floats, Floats]:
    m = np.asarray(mean, dtype=np.float64)
    c = np.asarray(covariance, dtype=np.float64)
    if m.ndim != 1 or c.shape != (m.size, m.size):
        raise ValueError(
            f"{what} mean and covariance have shapes {m.shape} and {c.shape}, expected (d,), (d, d)"
        )
    for name, array in (("mean", m), ("covariance", c)):
        if not np.isfinite(array).all():
            raise ValueError(f"{what} {name} has entries that are NaN or infinite")
    if not np.allclose(c, c.T, rtol=1e-6, atol=1e-8 * float(np.abs(c).max(initial=0.0))):
        raise ValueError(f"{what} covariance is not symmetric")
    return m, c
