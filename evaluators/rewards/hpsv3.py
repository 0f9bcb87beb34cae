"""HPS v3: the mean of a predicted distribution of people's preference for an image and its prompt.

Unbounded, about 0 to 15 for today's generators. Source: hpsv3 1.0.0 (MizzenAI/HPSv3@72b7eba:
hpsv3/inference.py: of the two numbers of a reward the first, the mean, is the score);
Cwyxx/RealAlign@158ce28:training_sd35m/flow_grpo/rewards.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.api import (
    Estimate,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Prompt,
    Record,
)
from evaluators.rewards.rules import RewardEvaluator, mean_of

ROLE = "hpsv3"


class HPSv3(RewardEvaluator):
    """Mean score over all images, and the mean of what the scorer calls its uncertainty."""

    keep: ClassVar[tuple[str, ...]] = ("uncertainty",)
    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="hpsv3",
        version=1,
        metrics=(
            MetricSpec(name="mean", higher_is_better=True, unit="reward"),
            MetricSpec(name="uncertainty", higher_is_better=False, unit="reward"),
        ),
        backends=(ROLE,),
        upstream="MizzenAI/HPSv3@72b7ebaf0fe76bce636b3f4997aee319d0f65aef",
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the prompt."""
        return (prompt.text,)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `mean` and `uncertainty`, with intervals by bootstrap of prompts.

        Raises:
            ValueError: a value is NaN or infinite, naming the record; or there is none.
        """
        return {
            "mean": mean_of(records, "score"),
            "uncertainty": mean_of(records, "uncertainty"),
        }
