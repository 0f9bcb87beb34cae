"""A user study: people say which image of a pair they prefer; win rates by majority.

The form is made by `bench.votes.form`; what comes back is read by `bench.votes.ballots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    IncompleteError,
    MetricSpec,
    Predictions,
    PromptSuite,
    Record,
)
from evaluators.votes.rules import MIRRORED, RATES, pair_records, share
from evaluators.votes.rules import rates as win_rates

ROLE = "votes"


class HumanStudy(Evaluator):
    """Win rates of image 0 of each pair against image 1; see `evaluators.votes.rules`.

    The record of image 0 has `votes`: by voter, `"win"`, `"tie"` or `"lose"`, and `asked`: how
    many voters had the pair in their form.
    """

    pairwise: ClassVar[bool] = True
    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="human",
        version=1,
        metrics=(*RATES, MetricSpec(name="missing", higher_is_better=False, range=(0.0, 1.0))),
        backends=(ROLE,),
        upstream="RealAlign §user study; Diffusion-DRO §user study (majority of the votes)",
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Yield two records per pair, the candidate's (ordinal 0) and the other's.

        Raises:
            IncompleteError: there are no votes at all.
            ValueError: a vote is of no pair, or is none of win, tie and lose.
        """
        if ROLE not in predictions:
            raise IncompleteError("human: no votes; export a form with --export and have it filled")
        known = {prompt.id for prompt in suite}
        verdicts: dict[str, dict[str, str]] = {}
        facts: dict[str, dict[str, Any]] = {pid: {"asked": 0} for pid in known}
        for record in predictions[ROLE].records:
            pair = record["prompt_id"]
            wrong = set(record["votes"].values()) - set(MIRRORED)
            if pair not in known or wrong:
                raise ValueError(
                    f"human: votes on {pair!r}: {sorted(wrong) or 'there is no such pair'}"
                )
            verdicts[pair] = dict(record["votes"])
            facts[pair] = {"asked": record["asked"]}
        return pair_records(suite, verdicts, facts)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return win rates, agreement and the share of votes that were not cast."""
        found = win_rates(records, evaluator="human")
        pairs = [record for record in records if record["ordinal"] == 0]
        asked = sum(record["asked"] for record in pairs)
        cast = sum(len(record["verdicts"]) for record in pairs)
        found["missing"] = share(asked - cast, asked)
        return found
