"""Precision and recall of an image set by manifolds of nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    Estimate,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Record,
)
from evaluators.fid.distribution import DistributionEvaluator
from evaluators.fid.estimate import blocks_of, reference_features
from evaluators.fid.features import FEATURES, rows
from evaluators.fid.manifold_rules import NEIGHBOURS, by_block
from evaluators.intervals import jackknifed


class PrecisionRecall(DistributionEvaluator):
    """Share of the sample that looks real, and share of the reference that the sample reaches.

    Balls reach to the third neighbour. Both go with the number of images on either side. Intervals
    by leaving out blocks of prompts, given the reference; recall of fewer images is lower, which
    shifts all leave-out values alike and not their spread.
    Source: Kynkäänniemi et al., NeurIPS 2019.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="precision-recall",
        version=1,
        metrics=(
            MetricSpec(name="precision", higher_is_better=True, range=(0.0, 1.0)),
            MetricSpec(name="recall", higher_is_better=True, range=(0.0, 1.0)),
        ),
        backends=(FEATURES,),
        upstream="kynkaat/improved-precision-and-recall-metric",
        needs_reference=True,
    )

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `precision` and `recall`.

        Raises:
            UsageError: no reference, or one without features.
            IncompleteError: an image without features.
            ValueError: features NaN or infinite, of unequal widths, or fewer than four images.
        """
        target = reference_features(reference, self.spec.name)
        features = rows(predictions, "features", records)
        block_of = blocks_of(records)
        left = len(features) - int(np.bincount(block_of).max())
        if left < NEIGHBOURS + 1:  # a value, but no interval
            block_of = np.zeros_like(block_of)
        precise, recall, recalls = by_block(features, target, block_of)

        def precision_without(block: NDArray[np.bool_]) -> float | None:
            return float(precise[~block].mean()) if recalls else None

        def recall_without(block: NDArray[np.bool_]) -> float | None:
            return recalls[int(block_of[block][0])] if recalls else None

        value = float(precise.mean())
        return {
            "precision": _capped(jackknifed(records, value, precision_without, least=0.0)),
            "recall": _capped(jackknifed(records, recall, recall_without, least=0.0)),
        }


def _capped(estimate: Estimate) -> Estimate:
    return estimate if estimate.high is None else replace(estimate, high=min(1.0, estimate.high))
