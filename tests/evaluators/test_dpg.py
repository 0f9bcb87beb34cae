"""DPG-Bench's rules over stored answers."""

import json

import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.dpg.metric import DPG, VQA, category_of, chained_scores

META = {
    "questions": {"1": "a cat?", "2": "a red cat?", "3": "a red tail?", "10": "left of a dog?"},
    "parents": {"1": [0], "2": [1], "3": [2], "10": [1, 3]},
    "tuples": {
        "1": "entity - whole (cat)",
        "2": "attribute - color (cat, red)",
        "3": "attribute - color (tail, red)",
        "10": "relation - spatial (cat, dog, left of)",
    },
}


def suite(count: int = 2, **more: object) -> PromptSuite:
    return PromptSuite(
        name="small",
        version="1",
        prompts=tuple(
            Prompt(id=str(i), text=f"prompt {i}", meta={**META, **more}) for i in range(count)
        ),
    )


def predict(prompts: PromptSuite, *by_image: list[str]) -> dict[str, Predictions]:
    records = [
        {"prompt_id": p.id, "ordinal": k, "answers": list(answers)}
        for p in prompts
        for k, answers in enumerate(by_image)
    ]
    return {VQA: Predictions(records=records)}


ALL = ["yes"] * 4


def metrics(prompts, predictions, evaluator=None):
    evaluator = evaluator or DPG()
    records = evaluator.score(prompts, predictions)
    json.dumps(records, allow_nan=False)
    return {k: e.value for k, e in evaluator.aggregate(records, predictions).items()}


def test_a_no_reaches_grandchildren_in_ascending_order_only() -> None:
    yes = {1: False, 2: True, 3: True}
    assert chained_scores(yes, {1: [0], 2: [1], 3: [2]}) == {1: 0, 2: 0, 3: 0}
    assert chained_scores({1: True, 2: True, 3: False}, {1: [2], 2: [3], 3: [0]}) == {
        1: 1,
        2: 0,
        3: 0,
    }


def test_only_a_lower_case_yes_counts() -> None:
    one = suite(1)
    assert metrics(one, predict(one, ALL))["score"] == 100
    assert metrics(one, predict(one, ["yes", "Yes", "no", "yes."]))["score"] == 25


def test_score_and_categories() -> None:
    both = suite()
    predictions = predict(both, ALL, ["yes", "no", "yes", "yes"])
    found = metrics(both, predictions)
    assert found["score"] == pytest.approx(100 * (1 + 1 / 4) / 2)
    # raw answers of the last image
    assert (found["entity"], found["attribute"], found["relation"]) == (100, 50, 100)
    clean = metrics(both, predictions, DPG(profile="clean"))
    assert clean["score"] == found["score"]
    assert (clean["entity"], clean["attribute"], clean["relation"]) == (100, 50, 50)
    assert "global" not in found


def test_the_last_image_alone_makes_the_faithful_categories() -> None:
    one = suite(1)
    first = metrics(one, predict(one, ["no"] * 4, ALL))
    assert first["entity"] == 100 and first["score"] == 50


def test_a_prompt_that_names_a_missing_parent_is_left_out_or_refused() -> None:
    broken = Prompt(id="x", text="x", meta={**META, "parents": {"2": [99]}})
    mixed = PromptSuite(name="m", version="1", prompts=(*suite(2).prompts, broken))
    predictions = predict(mixed, ALL)
    records = DPG().score(mixed, predictions)
    assert [r["flag"] for r in records] == ["", "", "missing-parent"]
    assert DPG().aggregate(records, predictions)["score"].clusters == 2
    with pytest.raises(UsageError, match="prompt x: 99 stands among the parents"):
        DPG(profile="clean").score(mixed, predictions)
    alone = PromptSuite(name="m", version="1", prompts=(broken,))
    with pytest.raises(ValueError, match="no prompt"):
        DPG().aggregate(DPG().score(alone, predict(alone, ALL)), {})


def test_soft_answers_and_any_order_of_records() -> None:
    both = suite(3)
    rng = np.random.default_rng(0)
    records = [
        {"prompt_id": p.id, "ordinal": k, "yes": rng.random(4).tolist()}
        for p in both
        for k in range(4)
    ]
    one = metrics(both, {VQA: Predictions(records=records)})
    assert one == metrics(both, {VQA: Predictions(records=records[::-1])})
    assert 0 < one["score"] < 100


def test_bad_input() -> None:
    one = suite(1)
    with pytest.raises(IncompleteError, match="no dpg-vqa prediction"):
        DPG().score(suite(2), predict(one, ALL))
    with pytest.raises(ValueError, match="expected one for each of 4 questions"):
        DPG().score(one, predict(one, ["yes"]))
    with pytest.raises(UsageError, match="question 1 has no entry among the 'tuples'"):
        DPG().score(suite(1, tuples={}), predict(one, ALL))
    with pytest.raises(UsageError, match="has no 'questions'"):
        DPG().queries(VQA, Prompt(id="a", text="a"))
    with pytest.raises(UsageError, match="unknown DPG-Bench profile"):
        DPG(profile="fair")


def test_category_is_the_first_word_of_the_tuple() -> None:
    assert category_of("attribute - color (cat, red)") == "attribute"
    assert category_of("global - (photo)") == "global"
