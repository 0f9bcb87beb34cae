"""DeQA-Score: the quality of an image, 1 (bad) to 5 (excellent), whatever its prompt.

The expected value over five words of a language model's answer. Source: zhiyuanyou/DeQA-Score@
4768965:src/evaluate/scorer.py; the checkpoint Mix3 at f37ba42, as in Cwyxx/RealAlign@158ce28:
training_sd35m/flow_grpo/rewards.py.
"""

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
from evaluators.rewards.rules import RewardEvaluator, mean_of

ROLE = "deqa"
LOWEST, HIGHEST = 1.0, 5.0
_ROUNDING = 0.01
"""Half precision: five probabilities may add up to a little more than 1."""


class DeQA(RewardEvaluator):
    """Mean quality over all images."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="deqa",
        version=1,
        metrics=(
            MetricSpec(
                name="mean",
                higher_is_better=True,
                unit="points",
                range=(LOWEST - _ROUNDING, HIGHEST + _ROUNDING),
            ),
        ),
        backends=(ROLE,),
        upstream="zhiyuanyou/DeQA-Score@4768965783bb97874371cb2c1f5a36366d8c8f37",
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, score.

        Raises:
            IncompleteError: an image has no score, naming it.
            ValueError: a score is not in 1 to 5, naming the image.
        """
        records = list(super().score(suite, predictions))
        for record in records:
            score = record["score"]
            if not LOWEST - _ROUNDING <= score <= HIGHEST + _ROUNDING:
                raise ValueError(
                    f"image {record['prompt_id']}/{record['ordinal']}: quality {score}, expected "
                    f"{LOWEST:g} to {HIGHEST:g}; the back-end is no DeQA-Score"
                )
        return records

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `mean`, with its interval by bootstrap of prompts.

        Raises:
            ValueError: a value is NaN or infinite, naming the record; or there is none.
        """
        return {"mean": mean_of(records, "score")}
