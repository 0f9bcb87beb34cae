import json

import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.geneval.metric import GenEval
from evaluators.geneval.prompts import TASKS
from evaluators.geneval.results import official_rows, results_jsonl

SHAPES = ("circle", "square", "triangle", "cross")


def suite(prompts_per_task=3, tasks=TASKS):
    prompts = []
    for task in tasks:
        for k in range(prompts_per_task):
            clause = {"class": SHAPES[k % 4], "count": 1}
            if task in ("colors", "color_attr"):
                clause["color"] = "cyan"
            prompts.append(
                Prompt(id=f"{task}-{k}", text=f"{task} {k}", tag=task, meta={"include": [clause]})
            )
    return PromptSuite(name="shapes", version="1", prompts=tuple(prompts))


def record(prompt, ordinal, *, right):
    found = [
        {
            "class": prompt.meta["include"][0]["class"],
            "score": 0.95,
            "box": [1, 1, 9, 9],
            "color": "cyan",
        }
    ]
    return {
        "prompt_id": prompt.id,
        "ordinal": ordinal,
        "width": 32,
        "height": 32,
        "detections": found if right else [],
    }


def predict(prompts, images=4, right=lambda prompt, ordinal: True):
    records = [record(p, k, right=right(p, k)) for p in prompts for k in range(images)]
    return {"detector": Predictions(records=records)}


def test_every_image_gets_one_record_with_its_reason():
    prompts = suite()
    records = GenEval().score(prompts, predict(prompts, right=lambda p, k: k != 1))
    assert [(r["prompt_id"], r["ordinal"]) for r in records] == [
        (p.id, k) for p in prompts for k in range(4)
    ]
    assert [r["correct"] for r in records[:4]] == [1, 0, 1, 1]
    assert records[1]["reason"] == "expected circle>=1, found 0"
    assert records[0]["reason"] == ""
    json.dumps(records)


def test_estimates_are_task_means_and_their_mean_with_intervals():
    prompts = suite(prompts_per_task=5)
    share = dict(zip(TASKS, (4, 3, 2, 2, 1, 0), strict=True))
    predictions = predict(prompts, right=lambda p, k: (k + int(p.id[-1])) % 4 < share[p.tag])
    evaluator = GenEval()
    estimates = evaluator.aggregate(evaluator.score(prompts, predictions), predictions)
    assert [m.name for m in evaluator.spec.metrics] == list(estimates)
    assert {t: estimates[t].value for t in TASKS} == {t: share[t] / 4 for t in TASKS}
    assert estimates["overall"].value == pytest.approx(np.mean([s / 4 for s in share.values()]))
    assert estimates["prompts_correct"].value == pytest.approx(5 / 6)
    assert estimates["images_correct"].n == estimates["prompts_correct"].n == 120
    assert estimates["overall"].clusters == 30
    overall = estimates["overall"]
    assert overall.low <= overall.value <= overall.high


def test_the_interval_counts_prompts_not_images():
    prompts = suite(prompts_per_task=6, tasks=("colors",))
    all_or_none = predict(prompts, right=lambda p, k: int(p.id[-1]) % 2 == 0)
    alternating = predict(prompts, right=lambda p, k: k % 2 == 0)
    evaluator = GenEval()
    by_prompt, by_image = (
        evaluator.aggregate(evaluator.score(prompts, p), p)["overall"]
        for p in (all_or_none, alternating)
    )
    assert by_prompt.value == by_image.value == 0.5
    assert by_prompt.stderr > 0.2
    assert by_image.stderr == pytest.approx(0.0, abs=1e-12)


def test_overall_of_unequal_tasks_is_not_the_share_of_correct_images():
    prompts = PromptSuite(
        name="uneven",
        version="1",
        prompts=suite(4, ("colors",)).prompts + suite(1, ("position",)).prompts,
    )
    predictions = predict(prompts, images=1, right=lambda p, k: p.tag == "colors")
    evaluator = GenEval()
    estimates = evaluator.aggregate(evaluator.score(prompts, predictions), predictions)
    assert estimates["overall"].value == 0.5
    assert estimates["images_correct"].value == 0.8
    assert set(estimates) == {"overall", "colors", "position", "images_correct", "prompts_correct"}


def test_a_missing_image_is_refused_by_name():
    prompts = suite()
    records = list(predict(prompts)["detector"].records)
    del records[6]
    with pytest.raises(IncompleteError, match=r"single_object-1/2"):
        GenEval().score(prompts, {"detector": Predictions(records=records)})
    with pytest.raises(IncompleteError, match="single_object-0/0"):
        GenEval().score(prompts, {"detector": Predictions(records=[])})
    with pytest.raises(IncompleteError, match="single_object-0/0"):
        GenEval().score(prompts, {})


def test_two_predictions_for_one_image_are_refused():
    prompts = suite()
    records = list(predict(prompts)["detector"].records)
    with pytest.raises(ValueError, match="two detector predictions for image single_object-0/0"):
        GenEval().score(prompts, {"detector": Predictions(records=[*records, records[0]])})


def test_a_nan_score_is_refused_and_never_counts_as_nothing_found():
    prompts = suite()
    predictions = predict(prompts)
    predictions["detector"].records[5]["detections"][0]["score"] = float("nan")
    with pytest.raises(ValueError, match="single_object-1/1"):
        GenEval().score(prompts, predictions)


def test_a_nan_record_is_refused_in_the_aggregate():
    prompts = suite()
    predictions = predict(prompts)
    records = GenEval().score(prompts, predictions)
    records[3]["correct"] = float("nan")
    with pytest.raises(ValueError, match="single_object-0/3"):
        GenEval().aggregate(records, predictions)


def test_a_colour_prompt_needs_a_detector_that_reads_colours():
    prompts = suite(tasks=("colors",))
    predictions = predict(prompts)
    del predictions["detector"].records[0]["detections"][0]["color"]
    with pytest.raises(ValueError, match="classifies colours"):
        GenEval().score(prompts, predictions)


def test_a_tag_that_is_no_task_or_a_prompt_that_asks_nothing_is_refused():
    def one(tag, meta):
        prompts = (Prompt(id="7", text="a", tag=tag, meta=meta),)
        return PromptSuite(name="x", version="1", prompts=prompts)

    found = {"detector": Predictions(records=[{"prompt_id": "7", "ordinal": 0, "detections": []}])}
    asked = {"include": [{"class": "cross", "count": 1}]}
    assert [r["correct"] for r in GenEval().score(one("colors", asked), found)] == [0]
    with pytest.raises(UsageError, match="texture"):
        GenEval().score(one("texture", asked), found)
    with pytest.raises(UsageError, match="prompt 7 'a' has no 'include'"):
        GenEval().score(one("colors", {}), found)


def test_predictions_beyond_a_limited_suite_are_left_out():
    prompts = suite()
    limited = prompts.limited(6)
    assert len(GenEval().score(limited, predict(prompts))) == 24


def test_official_results_name_files_prompts_and_boxes():
    prompts = suite(1)
    predictions = predict(prompts, images=2)
    evaluator = GenEval()
    rows = list(
        official_rows(prompts, predictions, evaluator.score(prompts, predictions), root="out")
    )
    text = results_jsonl(rows)
    first = json.loads(text.splitlines()[1])
    assert list(first) == [
        "filename",
        "tag",
        "prompt",
        "correct",
        "reason",
        "metadata",
        "details",
    ]
    assert first["filename"] == "out/00000/samples/00001.png"
    assert first["correct"] is True
    assert json.loads(first["metadata"])["prompt"] == "single_object 0"
    assert json.loads(first["details"]) == {"circle": [[1.0, 1.0, 9.0, 9.0, 0.95]]}
    assert '"out\\/00000\\/samples' in text  # as pandas escapes it
