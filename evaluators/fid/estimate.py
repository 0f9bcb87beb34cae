"""A Fréchet distance as an estimate: the measured features against a reference, with its interval.

A reference is another image set's features, or stored statistics of one (arrays `mean` (d,) and
`covariance` (d, d) in place of features).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimate, Predictions, Record, UsageError
from evaluators.fid.features import FEATURES, rows
from evaluators.fid.frechet import FrechetReference, GaussianSums
from evaluators.intervals import jackknifed


def reference_features(
    reference: Mapping[str, Predictions] | None, evaluator: str
) -> NDArray[np.floating]:
    """Return the features of every reference image, shape (m, d).

    Raises:
        UsageError: there is no reference, or it is statistics without features.
        ValueError: a feature is NaN or infinite, naming the image.
    """
    if reference is None:
        raise UsageError(
            f"{evaluator} compares with the features of a reference image set and got none; name "
            "the reference in the protocol, or with --reference"
        )
    if FEATURES in reference and "features" not in reference[FEATURES].arrays:
        raise UsageError(
            f"{evaluator} compares image by image, and the reference holds mean and covariance "
            "only; build it anew with --keep-features"
        )
    return rows(reference, "features")


def reference_gaussian(
    reference: Mapping[str, Predictions] | None, evaluator: str
) -> FrechetReference:
    """Return the Gaussian of a reference: of its features, or the stored one.

    Raises:
        UsageError: there is no reference.
        ValueError: a feature is NaN or infinite, or the stored statistics make no Gaussian.
    """
    stored = reference[FEATURES].arrays if reference and FEATURES in reference else {}
    if "mean" in stored and "covariance" in stored:
        return FrechetReference(stored["mean"], stored["covariance"])
    return FrechetReference.from_sums(GaussianSums.of(reference_features(reference, evaluator)))


def frechet_estimate(
    records: Sequence[Record], features: NDArray[np.floating], target: FrechetReference
) -> Estimate:
    """Return the distance of the records' features (n, d), leaving out blocks of prompts.

    The interval is that of the sampled images at their number, given this reference.

    Raises:
        ValueError: fewer than two images, or another width than the reference's.
    """
    total = GaussianSums.of(features)

    def without(block: NDArray[np.bool_]) -> float | None:
        rest = total - GaussianSums.of(features[block])
        return target.distance_to(rest) if rest.count >= 2 else None

    return jackknifed(records, target.distance_to(total), without, least=0.0)


def blocks_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Return shape (n,): the block of each image, as `intervals.jackknifed` deals them."""
    from bench.stats.jackknife import assign_blocks

    prompts = [record["prompt_id"] for record in records]
    if len(set(prompts)) < 2:
        return np.zeros(len(records), dtype=np.int64)
    return assign_blocks(prompts, [record["tag"] for record in records])
