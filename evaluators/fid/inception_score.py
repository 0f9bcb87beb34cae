"""Inception score of an image set's class scores.

Uses the same pass of the feature network as FID. Which classifier, over how many classes, is the
back-end's: scores under two classifiers are not comparable.
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
)
from evaluators.fid.features import FEATURES, image_records, rows
from evaluators.fid.inception_rules import PUBLISHED_SEED, PUBLISHED_SPLITS, ClassSums
from evaluators.intervals import jackknifed


class InceptionScore(Evaluator):
    """Inception score as published: mean over ten splits of a seeded permutation.

    Fewer than ten images make one split. The interval leaves out blocks of prompts while every
    other image stays in its split.
    Source: Salimans et al., NeurIPS 2016, §4; toshas/torch-fidelity@5e211a9:
    torch_fidelity/metric_isc.py for splits and permutation.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="inception-score",
        version=1,
        metrics=(
            MetricSpec(
                name="inception_score", higher_is_better=True, unit="score", range=(1.0, None)
            ),
            MetricSpec(name="one_split", higher_is_better=True, unit="score", range=(1.0, None)),
        ),
        backends=(FEATURES,),
        upstream="toshas/torch-fidelity@5e211a950a7b45206bd4976813ffd6aed6cf4ccc",
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
        """Return `inception_score` (ten splits) and `one_split` (all images together).

        Raises:
            IncompleteError: an image without class scores.
            ValueError: class scores NaN or infinite, naming the image; or no image.
        """
        logits = rows(predictions, "logits", records)
        splits = PUBLISHED_SPLITS if len(logits) >= PUBLISHED_SPLITS else 1
        return {
            "inception_score": _estimate(records, logits, split_of_images(len(logits), splits)),
            "one_split": _estimate(records, logits, split_of_images(len(logits), 1)),
        }


def split_of_images(n: int, splits: int, seed: int = PUBLISHED_SEED) -> NDArray[np.int64]:
    """Return shape (n,): the split each image falls into (`inception_rules.inception_score`)."""
    split_of = np.zeros(n, dtype=np.int64)
    if splits > 1:
        order = np.random.RandomState(seed).permutation(n)
        for split in range(splits):
            split_of[order[split * n // splits : (split + 1) * n // splits]] = split
    return split_of


def _estimate(
    records: Sequence[Record], logits: NDArray[np.floating], split_of: NDArray[np.int64]
) -> Estimate:
    splits = range(int(split_of.max(initial=0)) + 1)
    totals = [ClassSums.of(logits[split_of == split]) for split in splits]

    def without(block: NDArray[np.bool_]) -> float | None:
        rest = [
            totals[split] - ClassSums.of(logits[block & (split_of == split)]) for split in splits
        ]
        if min(sums.count for sums in rest) < 1:
            return None
        return float(np.mean([sums.score() for sums in rest]))

    value = float(np.mean([sums.score() for sums in totals]))
    return jackknifed(records, value, without, least=1.0)
