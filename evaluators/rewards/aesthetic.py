"""LAION's aesthetic predictor: how much people like an image, whatever it was asked for.

On the scale of its training ratings, 1 to 10; unbounded in principle.
Source: christophschuhmann/improved-aesthetic-predictor@6934dd8.
"""

from __future__ import annotations

from typing import ClassVar

from bench.api import (
    EvaluatorSpec,
    MetricSpec,
)
from evaluators.rewards.rules import RewardEvaluator

ROLE = "aesthetic"


class Aesthetic(RewardEvaluator):
    """Mean and median score over all images."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="aesthetic",
        version=1,
        metrics=tuple(
            MetricSpec(name=name, higher_is_better=True, unit="rating")
            for name in ("mean", "median")
        ),
        backends=(ROLE,),
        upstream="christophschuhmann/improved-aesthetic-predictor@6934dd8",
    )
