"""UnifiedReward, pointwise: a vision-language model names what it sees and gives 1 to 5.

Source: as `unifiedreward_rules`, beside this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    UsageError,
    did_you_mean,
)
from evaluators.records import by_image, images_per_prompt
from evaluators.rewards.rules import mean_of
from evaluators.rewards.unifiedreward_rules import HIGHEST, LOWEST, parse

ROLE = "unifiedreward"
PROFILES = ("faithful", "clean")


@dataclass(frozen=True, kw_only=True)
class UnifiedReward(Evaluator):
    """Mean score over all images, and the share of answers that have none.

    Attributes:
        profile: "faithful" counts an answer without a score as 0, as upstream does; "clean"
            leaves it out of the mean.
    """

    profile: str = "faithful"

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="unifiedreward",
        version=1,
        metrics=(
            MetricSpec(name="mean", higher_is_better=True, unit="points", range=(0.0, 6.0)),
            MetricSpec(name="unparsed", higher_is_better=False, range=(0.0, 1.0)),
        ),
        backends=(ROLE,),
        upstream="CodeGoat24/UnifiedReward@ed52f98c680bfeca1e23e26aa61715de03412f2b",
    )

    def __post_init__(self) -> None:
        """Refuse an unknown profile (UsageError)."""
        if self.profile not in PROFILES:
            hint = did_you_mean(self.profile, PROFILES)
            raise UsageError(f"unknown UnifiedReward profile {self.profile!r}.{hint}")

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the caption; the question around it is the back-end's."""
        return (prompt.text,)

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, score (null without one), unparsed.

        Raises:
            IncompleteError: an image has no answer, naming it.
            ValueError: an answer is no text, naming the image.
        """
        return list(self._score(suite, predictions))

    def _score(
        self, suite: PromptSuite, predictions: Mapping[str, Predictions]
    ) -> Iterator[Record]:
        images = images_per_prompt(suite, [predictions[ROLE]] if ROLE in predictions else [])
        found = by_image(suite, predictions, ROLE, evaluator=self.spec.name, images=images)
        for prompt in suite:
            for ordinal in prompt.ordinals(images):
                answer = found[prompt.id, ordinal].get("answer")
                if not isinstance(answer, str):
                    raise ValueError(
                        f"image {prompt.id}/{ordinal}: {ROLE} gave {answer!r}, expected a text"
                    )
                score = parse(answer, self.profile)
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": ordinal,
                    "tag": prompt.tag,
                    "score": 0.0 if score is None and self.profile == "faithful" else score,
                    "unparsed": int(score is None),
                }

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `mean` and `unparsed`, with intervals by bootstrap of prompts.

        Raises:
            ValueError: a value is NaN or infinite, naming the record; or no answer has a score.
        """
        read = [record for record in records if record["score"] is not None]
        if not read:
            raise ValueError(
                f"none of {len(records)} answers has a score from {LOWEST:g} to {HIGHEST:g} after "
                "'Final Score:'; look at the back-end's answers"
            )
        return {"mean": mean_of(read, "score"), "unparsed": mean_of(records, "unparsed")}
