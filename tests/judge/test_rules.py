"""Replies, both orders, majorities and win rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite
from evaluators.votes.human import HumanStudy
from evaluators.votes.rules import both_orders, majority, parse_reply
from evaluators.votes.vlm_judge import VLMJudge


def pairs(count: int) -> PromptSuite:
    return PromptSuite(
        name="pairs",
        version="1",
        prompts=tuple(
            Prompt(id=f"{k}#0", text=f"prompt {k}", meta={"pair": {"prompt_id": str(k)}})
            for k in range(count)
        ),
    )


Judge = Callable[[int, int], int]
"""(pair, which image is shown first) to the place chosen: 1, 2, or 0 for none."""


def judged(count: int, judges: Mapping[str, Judge | None]) -> Predictions:
    records = [
        {
            "prompt_id": f"{k}#0",
            "ordinal": first,
            "replies": {
                name: "I cannot say" if judge is None else f'{{"choice": {judge(k, first)}}}'
                for name, judge in judges.items()
            },
        }
        for k in range(count)
        for first in (0, 1)
    ]
    return Predictions(records=records)


def likes(candidate: Callable[[int], bool]) -> Judge:
    """Prefers the candidate (image 0) of some pairs, wherever it is shown."""
    return lambda pair, first: 1 if candidate(pair) == (first == 0) else 2


def values(evaluator: VLMJudge | HumanStudy, count: int, given: Predictions) -> dict[str, float]:
    predictions = {evaluator.spec.backends[0]: given}
    records = list(evaluator.score(pairs(count), predictions))
    return {name: e.value for name, e in evaluator.aggregate(records, predictions).items()}


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ('{"choice": 1}', "first"),
        ('```json\n{"choice": "2"}\n```', "second"),
        ('{"choice": 1} no wait {"choice": 0}', "tie"),
        ('{"why": "sharp", "choice": " Image 2 "}', "second"),
        ("1", "first"),
        ("  **Image 2**. ", "second"),
        ("TIE", "tie"),
        ("neither", "tie"),
        ('{"choice": 3}', None),
        ('{"choice": true}', None),
        ('{"choice": [1]}', None),
        ('{"answer": 1}', None),
        ("Image 1 is better than image 2", None),
        ("12", None),
        ("", None),
    ],
)
def test_a_reply_is_read_only_where_it_is_clear(reply: str, choice: str | None) -> None:
    assert parse_reply(reply) == choice


def test_both_orders() -> None:
    assert both_orders("first", "second") == "win"
    assert both_orders("second", "first") == "lose"
    assert both_orders("first", "first") == "tie"  # whichever comes first
    assert both_orders("tie", "second") == "tie"
    assert both_orders(None, "second") is None


def test_majority() -> None:
    assert majority(["win", "win", "lose"]) == "win"
    assert majority(["win", "lose"]) == "tie" and majority(["win", "lose", "tie"]) == "tie"
    assert majority(["lose"]) == "lose" and majority([]) is None


def test_a_judge_who_likes_the_first_place_wins_nobody_anything() -> None:
    found = values(VLMJudge(), 12, judged(12, {"biased": lambda _pair, _first: 1}))
    assert found["tie_rate"] == 1.0 and found["points"] == 0.5
    assert found["first_share"] == 1.0 and found["consistent"] == 0.0


def test_three_judges_by_majority() -> None:
    judges = {
        "a": likes(lambda k: k % 2 == 0),
        "b": likes(lambda k: k % 2 == 0),
        "c": likes(lambda k: False),
    }
    found = values(VLMJudge(), 12, judged(12, judges))
    assert (found["win_rate"], found["lose_rate"]) == (0.5, 0.5)
    assert found["votes_won"] == pytest.approx(12 / 36)
    assert found["first_share"] == 0.5 and found["consistent"] == 1.0
    assert 0.0 < found["fleiss_kappa"] < 1.0


def test_exchanging_the_systems_mirrors_the_rates() -> None:
    judges = {"a": likes(lambda k: k < 8), "b": likes(lambda k: k < 10), "c": None}
    mirrored = {"a": likes(lambda k: k >= 8), "b": likes(lambda k: k >= 10), "c": None}
    one = values(VLMJudge(), 12, judged(12, judges))
    other = values(VLMJudge(), 12, judged(12, mirrored))
    assert one["win_rate"] == other["lose_rate"] == pytest.approx(8 / 12)
    assert one["tie_rate"] == other["tie_rate"] == pytest.approx(2 / 12)
    assert one["krippendorff_alpha"] == pytest.approx(other["krippendorff_alpha"])


def test_unreadable_replies_are_counted_and_never_a_verdict() -> None:
    half = likes(lambda k: True)
    found = values(VLMJudge(), 4, judged(4, {"mute": None, "other": half}))
    assert found["unreadable"] == 0.5 and found["win_rate"] == 1.0 and found["undecided"] == 0.0
    with pytest.raises(IncompleteError, match="none of 4 pairs has a verdict"):
        values(VLMJudge(), 4, judged(4, {"mute": None}))


def test_a_judge_heard_in_one_order_only_is_refused() -> None:
    given = judged(2, {"a": likes(lambda k: True)})
    broken = [{**r, "replies": {}} if r["ordinal"] else r for r in given.records]
    with pytest.raises(IncompleteError, match="in one order"):
        values(VLMJudge(), 2, Predictions(records=broken))


def voted(of: Mapping[int, list[str]]) -> Predictions:
    records = [
        {
            "prompt_id": f"{k}#0",
            "ordinal": 0,
            "votes": {f"voter {j}": vote for j, vote in enumerate(votes)},
            "asked": 3,
        }
        for k, votes in of.items()
    ]
    return Predictions(records=records)


def test_realalign_s_published_study_is_reproduced_from_its_counts() -> None:
    """38 wins, 10 ties, 12 losses of 60: 63.33 / 16.67 / 20.00 %."""
    verdicts = ["win"] * 38 + ["tie"] * 10 + ["lose"] * 12
    found = values(HumanStudy(), 60, voted({k: [v] * 3 for k, v in enumerate(verdicts)}))
    shown = [round(100 * found[f"{name}_rate"], 2) for name in ("win", "tie", "lose")]
    assert shown == [63.33, 16.67, 20.0]
    assert found["krippendorff_alpha"] == found["fleiss_kappa"] == 1.0
    assert found["missing"] == 0.0


def test_votes_that_were_not_cast_are_reported() -> None:
    evaluator = HumanStudy()
    given = {"votes": voted({0: ["win", "win", "lose"], 1: ["lose"], 2: []})}
    records = list(evaluator.score(pairs(3), given))
    found = evaluator.aggregate(records, given)
    assert found["missing"].value == pytest.approx(5 / 9)
    assert found["undecided"].value == pytest.approx(1 / 3)
    assert found["win_rate"].value == 0.5 and found["win_rate"].n == 2
    assert "fleiss_kappa" not in found  # not every pair has as many votes
    low, high = found["win_rate"].low, found["win_rate"].high
    assert low is not None and high is not None and 0.0 <= low <= 0.5 <= high <= 1.0


def test_pairs_of_one_prompt_are_one_cluster() -> None:
    evaluator = VLMJudge()
    suite = PromptSuite(
        name="pairs",
        version="1",
        prompts=tuple(
            Prompt(id=f"{k}#{j}", text="x", meta={"pair": {"prompt_id": str(k)}})
            for k in range(5)
            for j in range(4)
        ),
    )
    records = [
        {"prompt_id": p.id, "ordinal": o, "replies": {"a": f'{{"choice": {o + 1}}}'}}
        for p in suite
        for o in (0, 1)
    ]
    given = {"judge": Predictions(records=records)}
    found = evaluator.aggregate(list(evaluator.score(suite, given)), given)
    assert (found["win_rate"].n, found["win_rate"].clusters) == (20, 5)


def test_a_vote_of_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no such pair"):
        values(HumanStudy(), 1, voted({7: ["win"]}))
    with pytest.raises(ValueError, match="maybe"):
        values(HumanStudy(), 1, voted({0: ["maybe"]}))
