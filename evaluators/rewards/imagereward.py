"""ImageReward: what people would think of an image for its prompt, standardised.

About 0 on the images it was made with, unbounded. Papers report means and medians; both are here.
Source: THUDM/ImageReward@c1392c6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bench.api import (
    EvaluatorSpec,
    MetricSpec,
    Prompt,
)
from evaluators.rewards.rules import RewardEvaluator

ROLE = "imagereward"


class ImageReward(RewardEvaluator):
    """Mean and median score over all images."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="imagereward",
        version=1,
        metrics=tuple(
            MetricSpec(name=name, higher_is_better=True, unit="standard deviations")
            for name in ("mean", "median")
        ),
        backends=(ROLE,),
        upstream="THUDM/ImageReward@c1392c6",
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the prompt."""
        return (prompt.text,)
