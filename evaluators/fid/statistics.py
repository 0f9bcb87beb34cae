"""FID against stored reference statistics: no reference image is needed, only its Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.api import (
    Estimate,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Record,
)
from evaluators.fid.distribution import DistributionEvaluator
from evaluators.fid.estimate import frechet_estimate, reference_gaussian
from evaluators.fid.features import FEATURES, rows


class FIDOfStatistics(DistributionEvaluator):
    """The FID of `fid`, where the reference is a named asset (`bench score --reference NAME`).

    On the features of one image set it gives the same number as `fid` does.
    Source: as `evaluators.fid.metric`.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="fid-statistics",
        version=1,
        metrics=(
            MetricSpec(name="fid", higher_is_better=False, unit="distance", range=(0.0, None)),
        ),
        backends=(FEATURES,),
        upstream="mseitzer/pytorch-fid@b9c18118d082cbd263c1b8963fc4221dc1cbb659",
        needs_reference=True,
    )

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `fid`.

        Raises:
            UsageError: no reference.
            IncompleteError: an image without features.
            ValueError: features NaN or infinite, or of another width than the reference's.
        """
        target = reference_gaussian(reference, self.spec.name)
        features = rows(predictions, "features", records)
        return {"fid": frechet_estimate(records, features, target)}
