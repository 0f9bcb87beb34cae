"""Kernel inception distance between the features of two image sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from evaluators.fid.kid_rules import kernel_sums, kid_of_subsets
from evaluators.intervals import jackknifed


class KID(DistributionEvaluator):
    """Squared MMD under a cubic kernel: unbiased, so sets of unlike size can be compared.

    `kid` uses all pairs and has an interval by leaving out blocks of prompts, given the reference;
    `kid_subsets` is the published estimate (100 seeded subsets of 1,000), a check on the other.
    Source: Bińkowski et al., ICLR 2018; GaParmar/clean-fid@e88c4d6:cleanfid/fid.py.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="kid",
        version=1,
        metrics=(
            MetricSpec(name="kid", higher_is_better=False, unit="distance"),
            MetricSpec(name="kid_subsets", higher_is_better=False, unit="distance"),
        ),
        backends=(FEATURES,),
        upstream="GaParmar/clean-fid@e88c4d6",
        needs_reference=True,
    )

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `kid` and `kid_subsets`.

        Raises:
            UsageError: no reference, or one without features.
            IncompleteError: an image without features.
            ValueError: features NaN or infinite, of unequal widths, or fewer than two images.
        """
        target = reference_features(reference, self.spec.name)
        features = rows(predictions, "features", records)
        block_of = blocks_of(records)
        sums = kernel_sums(features, target, block_of)

        def without(block: NDArray[np.bool_]) -> float | None:
            left_out = int(block_of[block][0])
            enough = len(features) - int(block.sum()) >= 2
            return sums.distance(left_out) if enough else None

        clusters = len({record["prompt_id"] for record in records})
        subsets = kid_of_subsets(features, target)
        return {
            "kid": jackknifed(records, sums.distance(), without, least=-np.inf),
            "kid_subsets": Estimate(value=subsets, n=len(records), clusters=clusters),
        }
