"""T2I-CompBench++: two more categories on top of the six, whose scores stay."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.compbench.metric import CompBench
from evaluators.compbench.plus import DEPTH, DETECTOR_R50, CompBenchPlus
from tests.evaluators import test_compbench as six

DEEP = Prompt(
    id="3d_spatial-000",
    text="a dog in front of a girl",
    tag="3d_spatial",
    meta={"category": "3d_spatial", "objects": ["dog", "girl"]},
)
MANY = Prompt(
    id="numeracy-000",
    text="two dogs and a cat",
    tag="numeracy",
    meta={"category": "numeracy", "counts": [["dog", 2], ["cat", 1]]},
)
SUITE = six.suite(DEEP, *six.SIX, MANY)
SIZE = 479


def detector(*entries):
    return {
        "width": 958,
        "height": 958,
        "detections": [
            {"class": label, "score": score, "box": [2.0 * v for v in box]}
            for label, score, box in entries
        ],
    }


SEEN = detector(
    ("dog", 0.8, (0, 0, 200, 400)),
    ("person", 0.6, (50, 0, 250, 400)),
    ("dog", 0.4, (300, 0, 400, 100)),
    ("cat", 0.09, (0, 0, 10, 10)),
)


def depth_map(*, transposed=True):
    depth = np.zeros((SIZE, SIZE), np.uint8)
    depth[:120] = 255
    return depth if transposed else np.ascontiguousarray(depth.T)


def predict(suite=SUITE, *, images=2, seen=SEEN, depth=None):
    of_six = six.suite(*(p for p in suite if p in tuple(six.SIX)))
    found = six.predict(of_six, images=images)
    own = [(p, k) for p in suite if p in (DEEP, MANY) for k in range(images)]
    key = lambda p, k: {"prompt_id": p.id, "ordinal": k}  # noqa: E731
    found[DETECTOR_R50] = Predictions(
        records=[{**key(p, k), **json.loads(json.dumps(seen))} for p, k in own]
    )
    deep = [(p, k) for p, k in own if p is DEEP]
    found[DEPTH] = Predictions(
        records=[key(p, k) for p, k in deep],
        arrays={"depth": np.stack([depth_map() if depth is None else depth] * max(len(deep), 1))},
    )
    return found


def score(suite=SUITE, predictions=None, **settings):
    return list(CompBenchPlus(**settings).score(suite, predictions or predict(suite)))


def test_the_six_are_scored_as_before():
    of_six = {(r["prompt_id"], r["ordinal"]): r for r in score() if r["category"] in six.META}
    before = CompBench().score(six.SIX, six.predict(six.SIX))
    assert [of_six[r["prompt_id"], r["ordinal"]] for r in before] == list(before)
    assert len(of_six) == 2 * len(six.SIX)
    plus = CompBenchPlus().aggregate(score(), predict())
    for name, value in CompBench().aggregate(list(before), {}).items():
        assert plus[name] == value


def test_records_are_in_suite_order():
    found = [(r["prompt_id"], r["ordinal"]) for r in score()]
    assert found == [(p.id, k) for p in SUITE for k in range(2)]


def test_each_new_category_has_its_rule():
    found = {r["category"]: r["score"] for r in score()}
    # the two overlap by 150 of 250, more than one half
    assert found["3d_spatial"] == pytest.approx(0.25 * 0.8 + 0.25 * 0.6 + 0.5)
    assert found["numeracy"] == pytest.approx(0.5)
    clean = {r["category"]: r["score"] for r in score(profile="clean")}
    assert clean["3d_spatial"] == pytest.approx(0.25 * 0.8 + 0.25 * 0.6)
    upright = predict(depth=depth_map(transposed=False))
    turned = {r["category"]: r["score"] for r in score(predictions=upright, profile="clean")}
    assert turned["3d_spatial"] == pytest.approx(found["3d_spatial"])


def test_roles_are_asked_for_what_they_score_alone():
    evaluator = CompBenchPlus()
    assert evaluator.spec.backends == ("detector", "vqa", "clip", "detector_r50", "depth")
    wanted = {p.tag: [r for r in evaluator.spec.backends if evaluator.wants(r, p)] for p in SUITE}
    assert wanted["3d_spatial"] == ["detector_r50", "depth"]
    assert wanted["numeracy"] == ["detector_r50"]
    assert wanted["spatial"] == ["detector"]
    assert wanted["complex"] == ["detector", "vqa", "clip"]
    assert all(not evaluator.queries(r, DEEP) for r in evaluator.spec.backends)


def test_the_headline_is_the_mean_of_the_six_and_overall_plus_that_of_all():
    found = CompBenchPlus().aggregate(score(), predict())
    assert next(iter(found)) == "overall"
    names = [m.name for m in CompBenchPlus.spec.metrics]
    assert set(found) == set(names)
    values = {name: found[name].value for name in names if not name.startswith("overall")}
    mean = sum(values.values()) / len(values)
    assert found["overall_plus"].value == pytest.approx(mean)
    own = {k: v for k, v in values.items() if k in ("3d_spatial", "numeracy")}
    of_six = (sum(values.values()) - sum(own.values())) / 6
    assert found["overall"].value == pytest.approx(of_six)
    alone = six.suite(MANY)
    only = CompBenchPlus().aggregate(score(alone, predict(alone)), {})
    assert set(only) == {"numeracy", "overall_plus"}


def test_scores_depend_neither_on_the_order_of_predictions_nor_of_detections():
    shuffled = json.loads(json.dumps(SEEN))
    shuffled["detections"].reverse()
    found = predict(seen=shuffled)
    found[DETECTOR_R50] = Predictions(records=list(reversed(found[DETECTOR_R50].records)))
    assert score(predictions=found) == score()


def test_what_is_missing_or_wrong_is_said():
    lacking = predict()
    lacking[DEPTH] = replace(lacking[DEPTH], records=lacking[DEPTH].records[:1])
    with pytest.raises(IncompleteError, match=r"no depth prediction.*3d_spatial-000/1"):
        score(predictions=lacking)
    with pytest.raises(ValueError, match="depth map is 479 x 100 pixels, the detector saw 479"):
        score(predictions=predict(depth=depth_map()[:100]))
    bare = predict()
    bare[DEPTH] = Predictions(records=bare[DEPTH].records)
    with pytest.raises(ValueError, match="no array 'depth'"):
        score(predictions=bare)
    broken = predict(seen={**SEEN, "width": 0})
    with pytest.raises(ValueError, match="0 x 958 pixels"):
        score(predictions=broken)
    for prompt, meta, match in (
        (DEEP, {}, "needs 'objects'"),
        (DEEP, {"objects": ["dog"]}, "expected two nouns"),
        (MANY, {}, "needs 'counts'"),
        (MANY, {"counts": []}, "asks for nothing"),
    ):
        changed = replace(prompt, meta={"category": prompt.tag, **meta})
        suite = PromptSuite(name="one", version="1", prompts=(changed,))
        with pytest.raises(UsageError, match=match):
            score(suite, predict(six.suite(prompt)))
