"""CLIP-FID: the Fréchet distance of CLIP image features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from bench.api import (
    Estimate,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    PromptSuite,
    Record,
)
from evaluators.fid.distribution import DistributionEvaluator
from evaluators.fid.estimate import frechet_estimate, reference_gaussian
from evaluators.fid.features import FEATURES, rows

ROLE = "clip-features"
"""Its array is `features` (n, d), float32, not normalised."""


class ClipFID(DistributionEvaluator):
    """FID with CLIP's image features in place of Inception's.

    Source: Kynkäänniemi et al., ICLR 2023; GaParmar/clean-fid@e88c4d6:cleanfid/clip_features.py.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="clip-fid",
        version=1,
        metrics=(
            MetricSpec(name="clip_fid", higher_is_better=False, unit="distance", range=(0.0, None)),
        ),
        backends=(ROLE,),
        upstream="GaParmar/clean-fid@e88c4d6",
        needs_reference=True,
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag.

        Raises:
            IncompleteError: an image has no features, naming it.
        """
        return super().score(suite, _renamed(predictions))

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `clip_fid`.

        Raises:
            UsageError: no reference.
            IncompleteError: an image without features.
            ValueError: features NaN or infinite, or of another width than the reference's.
        """
        target = reference_gaussian(reference and _renamed(reference), self.spec.name)
        features = rows(_renamed(predictions), "features", records)
        return {"clip_fid": frechet_estimate(records, features, target)}


def _renamed(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
    return {FEATURES: predictions[ROLE]} if ROLE in predictions else {}
