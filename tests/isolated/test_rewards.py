"""HPSv3, DeQA and UnifiedReward: reading answers, aggregating, and refusing what is broken."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, Record, UsageError
from bench.api.registry import BACKENDS, EVALUATORS
from bench.spec.profile import load_profile
from bench.validate import EvaluatorSample, validate
from evaluators.isolated.backend import IsolatedBackend
from evaluators.isolated.process import WorkerError
from evaluators.isolated.rewards import DeQAScorer, HPSv3Package, HPSv21Package, UnifiedRewardJudge
from evaluators.rewards.deqa import DeQA
from evaluators.rewards.hpsv3 import HPSv3
from evaluators.rewards.unifiedreward import UnifiedReward
from evaluators.rewards.unifiedreward_rules import QUESTION, parse

SUITE = PromptSuite(
    name="drawbench-two",
    version="1",
    prompts=tuple(Prompt(id=str(n), text=f"prompt {n}", tag="t") for n in range(3)),
)


def predictions(role: str, fields: list[dict[str, Any]], images: int = 2) -> dict[str, Predictions]:
    """Return predictions of `images` images of each prompt, from their fields in order."""
    rows: list[Record] = [
        {"prompt_id": str(n // images), "ordinal": n % images, **field}
        for n, field in enumerate(fields)
    ]
    return {role: Predictions(records=rows)}


@pytest.mark.parametrize(
    ("answer", "faithful", "clean"),
    [
        ("cat (object): 1\nFinal Score: 4", 4.0, 4.0),
        ("Final Score: 3.5", 3.5, 3.5),
        ("Final Score:\n2", 2.0, 2.0),
        ("Final Score: 3\nFinal Score: 4.25", 3.0, 4.25),
        ("**Final Score:** 4", None, 4.0),
        ("Final Score: 4/5", 4.0, 4.0),
        ("Final Score: 4/10", 4.0, None),
        ("Final Score: 10", 1.0, None),
        ("Final Score: 5.9", 5.9, None),
        ("Final Score: 0", None, None),
        ("Final score: 4", None, None),
        ("a fine picture", None, None),
        ("", None, None),
    ],
)
def test_a_score_is_read_as_upstream_or_cleanly(
    answer: str, faithful: float | None, clean: float | None
) -> None:
    assert parse(answer, "faithful") == faithful
    assert parse(answer, "clean") == clean


def test_an_answer_without_a_score_counts_as_nothing_or_not_at_all() -> None:
    texts = [
        "Final Score: 4",
        "nothing",
        "Final Score: 2",
        "Final Score: 3",
        "Final Score: 5",
        "no",
    ]
    given = predictions("unifiedreward", [{"answer": text} for text in texts])
    means, shares = {}, {}
    for profile in ("faithful", "clean"):
        evaluator = UnifiedReward(profile=profile)
        records = list(evaluator.score(SUITE, given))
        found = evaluator.aggregate(records, given)
        means[profile], shares[profile] = found["mean"], found["unparsed"].value
    assert means["faithful"].value == pytest.approx(14 / 6)
    assert means["clean"].value == pytest.approx(14 / 4) and means["clean"].n == 4
    assert shares == pytest.approx({"faithful": 2 / 6, "clean": 2 / 6})
    with pytest.raises(UsageError, match="Did you mean 'clean'"):
        UnifiedReward(profile="cleen")
    silent = predictions("unifiedreward", [{"answer": "?"}] * 6)
    with pytest.raises(ValueError, match="none of 6 answers has a score"):
        UnifiedReward(profile="clean").aggregate(
            list(UnifiedReward(profile="clean").score(SUITE, silent)), silent
        )


def test_the_question_has_a_place_for_the_caption() -> None:
    assert QUESTION.count("{prompt}") == 1 and QUESTION.endswith("[{prompt}]")
    assert UnifiedReward().queries("unifiedreward", SUITE.prompts[1]) == ("prompt 1",)


def test_hpsv3_is_the_mean_of_the_means() -> None:
    rows = [{"score": [s], "uncertainty": 0.5} for s in (10.0, 12.0, 7.0, 9.0, -1.0, 3.0)]
    given = predictions("hpsv3", rows)
    records = list(HPSv3().score(SUITE, given))
    found = HPSv3().aggregate(records, given)
    assert found["mean"].value == pytest.approx(40 / 6) and found["uncertainty"].value == 0.5
    mean = found["mean"]
    assert mean.n == 6 and mean.clusters == 3
    assert mean.low is not None and mean.high is not None and mean.low < mean.value < mean.high


def test_deqa_is_between_1_and_5() -> None:
    given = predictions("deqa", [{"score": [s]} for s in (1.0, 2.0, 3.0, 4.0, 5.0, 5.001)])
    found = DeQA().aggregate(list(DeQA().score(SUITE, given)), given)
    assert found["mean"].value == pytest.approx(20.001 / 6)
    assert DeQA().queries("deqa", SUITE.prompts[0]) == ()
    wrong = predictions("deqa", [{"score": [s]} for s in (1.0, 2.0, 3.0, 70.0, 5.0, 5.0)])
    with pytest.raises(ValueError, match=r"image 1/1: quality 70.0, expected 1 to 5"):
        DeQA().score(SUITE, wrong)


FIELDS = {
    "hpsv3": {"score": [1.0], "uncertainty": 0.1},
    "deqa": {"score": [3.0]},
    "unifiedreward": {"answer": "Final Score: 3"},
}


@pytest.mark.parametrize("name", FIELDS)
def test_the_contract_holds_and_a_hole_is_named(name: str) -> None:
    fields = [FIELDS[name]] * 6
    given = predictions(name, fields)
    sample = EvaluatorSample(suite=SUITE, images_per_prompt=2, predictions=given)
    report = validate(name, sample=lambda _: sample)
    assert report.ok, report
    hole = Predictions(records=list(given[name].records)[:-1])
    with pytest.raises(IncompleteError, match=r"no .* prediction for 1 of 6 images: 2/1"):
        list(EVALUATORS.load(name)().score(SUITE, {name: hole}))
    if "score" in FIELDS[name]:
        bad = predictions(name, [*fields[:-1], {**FIELDS[name], "score": [math.nan]}])
        with pytest.raises(ValueError, match="image 2/1: score is nan"):
            list(EVALUATORS.load(name)().score(SUITE, bad))


@pytest.mark.parametrize("name", FIELDS)
def test_a_back_end_plays_its_role_in_the_paper_profile(name: str) -> None:
    backend = BACKENDS.load(load_profile("paper").backends[name])
    assert issubclass(backend, IsolatedBackend) and backend.hub_models
    assert EVALUATORS.load(name).spec.backends == (name,)


def test_strange_answers_of_a_worker_are_refused() -> None:
    asked = {"id": "0/0", "texts": ["a", "b"]}
    assert HPSv21Package().answer([20.5, 1], asked)[0] == {
        "score": [20.5, 1.0],
        "hps_version": "v2.1",
    }
    assert HPSv3Package().answer([9.5, 0.2], asked)[0] == {"score": [9.5], "uncertainty": 0.2}
    assert DeQAScorer().answer(3.5, asked)[0] == {"score": [3.5]}
    strange: list[tuple[IsolatedBackend, Any]] = [
        (HPSv21Package(), [20.5]),
        (HPSv21Package(), [True, False]),
        (HPSv3Package(), 9.5),
        (DeQAScorer(), None),
        (UnifiedRewardJudge(), 4),
    ]
    for backend, value in strange:
        with pytest.raises(WorkerError, match="answered"):
            backend.answer(value, asked)
