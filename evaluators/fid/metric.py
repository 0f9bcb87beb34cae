"""Fréchet distance between the features of two image sets.

Which network, at which resize and against which reference set, is the back-end's and the
protocol's; a FID means nothing without them, nor beside one over another number of images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    PromptSuite,
    Record,
    UsageError,
)
from evaluators.fid.features import FEATURES, image_records, rows
from evaluators.fid.frechet import FrechetReference, GaussianSums
from evaluators.intervals import jackknifed


class FID(Evaluator):
    """Fréchet inception distance; interval by leaving out blocks of prompts.

    Statistics in float64, covariances over n-1, no image of either set left out. The interval is
    of the sampled images given this reference set.
    Source: Heusel et al., NeurIPS 2017, eq. 6; mseitzer/pytorch-fid@b9c1811 for the conventions.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="fid",
        version=1,
        metrics=(
            MetricSpec(name="fid", higher_is_better=False, unit="distance", range=(0.0, None)),
        ),
        backends=(FEATURES,),
        upstream="mseitzer/pytorch-fid@b9c18118d082cbd263c1b8963fc4221dc1cbb659",
        needs_reference=True,
    )

    def as_stored(self) -> bool:
        """Return True: pytorch-fid, clean-fid and torch-fidelity turn no photograph."""
        return True

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag.

        Raises:
            IncompleteError: an image has no features, naming it.
        """
        return list(image_records(suite, predictions, evaluator=self.spec.name))

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `fid` of the records' features against all of the reference's.

        Raises:
            UsageError: no reference.
            IncompleteError: an image without features.
            ValueError: features NaN or infinite (the image is named), fewer than two images, or
                unequal widths.
        """
        if reference is None:
            raise UsageError(
                "fid compares with the features of a reference image set and got none; name the "
                "reference in the protocol"
            )
        features = rows(predictions, "features", records)
        target = FrechetReference.from_sums(GaussianSums.of(rows(reference, "features")))
        total = GaussianSums.of(features)

        def without(block: NDArray[np.bool_]) -> float | None:
            rest = total - GaussianSums.of(features[block])
            return target.distance_to(rest) if rest.count >= 2 else None

        return {"fid": jackknifed(records, target.distance_to(total), without, least=0.0)}
