"""PickScore, named after the prompt set it was measured on.

Papers report it on other prompts under one name; the same model's score differs between prompt
sets by as much as whole methods gain. So a metric is e.g. `raw/partiprompts`.
Source: yuvalkirstain/PickScore@f79607f.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    ProtocolError,
    Record,
)
from evaluators.rewards.rules import PROMPT_SETS, mean_of, median_of, prompt_set, scored

ROLE = "pickscore"
SCALE = 26.0
"""Some papers (and Flow-GRPO's code) report the raw score divided by this."""


class PickScore(Evaluator):
    """Mean and median raw score, and the mean divided by 26, over all images of one prompt set."""

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="pickscore",
        version=1,
        metrics=tuple(
            MetricSpec(name=f"{what}/{prompts}", higher_is_better=True, unit=unit)
            for prompts in PROMPT_SETS
            for what, unit in (
                ("raw", "logit"),
                ("scaled", f"logit / {SCALE:g}"),
                ("median", "logit"),
            )
        ),
        backends=(ROLE,),
        upstream="yuvalkirstain/PickScore@f79607f",
        headline_varies=True,
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the prompt."""
        return (prompt.text,)

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, score, suite, prompt_set.

        Raises:
            IncompleteError: an image has no score, naming it.
            ValueError: a score is NaN or infinite, naming the image.
        """
        names = {"suite": suite.name, "prompt_set": prompt_set(suite.name)}
        rows = scored(suite, predictions, ROLE, evaluator=self.spec.name)
        return [{**record, "score": score, **names} for record, (score,) in rows]

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `raw`, `scaled` and `median` of the records' prompt set.

        Raises:
            ProtocolError: the records are of more than one prompt suite.
            ValueError: a score is NaN or infinite, naming the record; or there is none.
        """
        suites = sorted({(record["suite"], record["prompt_set"]) for record in records})
        if len(suites) != 1:
            named = ", ".join(name for name, _ in suites) or "none"
            raise ProtocolError(
                f"scores on the prompt suites {named} together; expected one. PickScore on "
                "unlike prompts is not one number."
            )
        prompts = suites[0][1]
        mean = mean_of(records, "score")
        return {
            f"raw/{prompts}": mean,
            f"scaled/{prompts}": _divided(mean, SCALE),
            f"median/{prompts}": median_of(records, "score"),
        }


def _divided(estimate: Estimate, by: float) -> Estimate:
    stderr, low, high = (
        None if x is None else x / by for x in (estimate.stderr, estimate.low, estimate.high)
    )
    return replace(estimate, value=estimate.value / by, stderr=stderr, low=low, high=high)
