"""A vision-language model, or several, as judge of pairs: which image is preferred?

Every judge sees each pair twice, with the places exchanged; RealAlign's own script did not, and
its judges may have liked the first image for being first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    IncompleteError,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
)
from evaluators.records import by_image
from evaluators.votes.rules import (
    FIRST,
    RATES,
    SECOND,
    both_orders,
    pair_records,
    parse_reply,
    share,
)
from evaluators.votes.rules import rates as win_rates

ROLE = "judge"

QUESTION = (
    "Image 1 and Image 2 were made from the same prompt.\n"
    "Prompt: {prompt}\n"
    "Which image do you prefer given the prompt? Look at how well it shows what the prompt asks "
    'for and at how good it looks. Answer with JSON alone: {{"choice": 1}} or {{"choice": 2}}, or '
    '{{"choice": 0}} if you prefer neither.'
)
"""The studies' question, with an answer that can be read."""


class VLMJudge(Evaluator):
    """Win rates of image 0 of each pair against image 1; see `evaluators.votes.rules`.

    The back-end's record of an image has `replies`: by judge, what it said when that image was
    shown first.
    """

    pairwise: ClassVar[bool] = True
    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="vlm-judge",
        version=1,
        metrics=(
            *RATES,
            MetricSpec(name="first_share", higher_is_better=False, range=(0.0, 1.0)),
            MetricSpec(name="consistent", higher_is_better=True, range=(0.0, 1.0)),
            MetricSpec(name="unreadable", higher_is_better=False, range=(0.0, 1.0)),
        ),
        backends=(ROLE,),
        upstream="RealAlign §user study; position swap and ties are ours",
    )

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the one question."""
        return (QUESTION.format(prompt=prompt.text),)

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Yield two records per pair, the candidate's (ordinal 0) and the other's.

        The candidate's has `replies` and `firsts`: how many decisive replies there were and how
        many of them chose the image shown first; `orders`: how many judges were read in both
        orders and how many of them said the same in both.

        Raises:
            IncompleteError: a pair is not one of two images, or an image has no replies.
        """
        found = by_image(suite, predictions, ROLE, evaluator="vlm-judge", images=2)
        verdicts: dict[str, dict[str, str]] = {}
        facts: dict[str, dict[str, Any]] = {}
        for prompt in suite:
            shown = [found[prompt.id, ordinal]["replies"] for ordinal in (0, 1)]
            if set(shown[0]) != set(shown[1]):
                raise IncompleteError(
                    f"vlm-judge: pair {prompt.id} was judged by {sorted(shown[0])} in one order "
                    f"and by {sorted(shown[1])} in the other"
                )
            counted: dict[str, int] = defaultdict(int)
            verdicts[prompt.id] = {}
            for judge in shown[0]:
                choices = [parse_reply(replies[judge]) for replies in shown]
                counted["replies"] += 2
                counted["unreadable"] += sum(choice is None for choice in choices)
                counted["decisive"] += sum(choice in (FIRST, SECOND) for choice in choices)
                counted["first"] += sum(choice == FIRST for choice in choices)
                verdict = both_orders(choices[0], choices[1])
                if verdict is not None:
                    verdicts[prompt.id][judge] = verdict
                    counted["both"] += 1
                    turned = {FIRST: SECOND, SECOND: FIRST}.get(choices[1] or "", choices[1])
                    counted["same"] += int(choices[0] == turned)
            facts[prompt.id] = {
                "replies": counted["replies"],
                "unreadable": counted["unreadable"],
                "firsts": [counted["decisive"], counted["first"]],
                "orders": [counted["both"], counted["same"]],
            }
        return pair_records(suite, verdicts, facts)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return win rates, agreement, position bias and the share of unreadable replies."""
        found = win_rates(records, evaluator="vlm-judge")
        pairs = [record for record in records if record["ordinal"] == 0]
        decisive, first = (sum(r["firsts"][k] for r in pairs) for k in (0, 1))
        both, same = (sum(r["orders"][k] for r in pairs) for k in (0, 1))
        if decisive:
            found["first_share"] = share(first, decisive)
        if both:
            found["consistent"] = share(same, both)
        replies, unreadable = (sum(r[key] for r in pairs) for key in ("replies", "unreadable"))
        found["unreadable"] = share(unreadable, replies)
        return found
