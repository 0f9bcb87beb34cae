"""RealAlign's measures of realism and of texture.

Gap: PickScore / 26 of the prompt behind the prefix "Realistic photo" less that behind "CG Render",
near zero or above where images look like photographs. Texture: the variance of the Laplacian of
the grey levels, larger where there is more fine detail (and more noise).
Source: RealAlign, the figure on realism and texture; Cwyxx/RealAlign@158ce28.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
)
from evaluators.records import by_image, finite
from evaluators.rewards.rules import mean_of, scored

REALISM, TEXTURE = "realism", "texture"
PREFIXES = ("Realistic photo ", "CG Render ")
SCALE = 26.0


class Realism(Evaluator):
    """Mean gap and mean texture over all images."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="realism",
        version=1,
        metrics=(
            MetricSpec(name="gap", higher_is_better=True, unit="logit / 26"),
            MetricSpec(
                name="texture", higher_is_better=True, unit="grey levels squared", range=(0.0, None)
            ),
        ),
        backends=(REALISM, TEXTURE),
        upstream="Cwyxx/RealAlign@158ce28",
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the prompt behind both prefixes for the scorer, nothing for the texture."""
        return tuple(prefix + prompt.text for prefix in PREFIXES) if role == REALISM else ()

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, gap, texture.

        Raises:
            IncompleteError: an image lacks a prediction, naming it.
            ValueError: a number is NaN or infinite, naming the image.
        """
        rows = list(scored(suite, predictions, REALISM, evaluator=self.spec.name, texts=2))
        images = 1 + max((record["ordinal"] for record, _ in rows), default=-1)
        found = by_image(suite, predictions, TEXTURE, evaluator=self.spec.name, images=images)
        return [
            {
                **record,
                "gap": (photo - render) / SCALE,
                "texture": finite(
                    found[record["prompt_id"], record["ordinal"]].get("texture"), record, "texture"
                ),
            }
            for record, (photo, render) in rows
        ]

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `gap` and `texture`.

        Raises:
            ValueError: a number is NaN or infinite, naming the record; or there is none.
        """
        return {"gap": mean_of(records, "gap"), "texture": mean_of(records, "texture")}
