import json

import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.compbench.metric import CompBench

CIRCLE = {"class": "circle", "color": "red"}
SQUARE = {"class": "square", "color": "blue"}

META = {
    "color": {"phrases": ["a red circle", "a blue square"]},
    "shape": {"phrases": ["a Circle"]},
    "texture": {"phrases": ["a striped circle", "top"]},
    "spatial": {"relation": "left of", "objects": ["circle", "square"]},
    "non_spatial": {},
    "complex": {
        "complex_kind": "spatialaction",
        "phrases": ["a red circle"],
        "relation": "above",
        "objects": [CIRCLE, SQUARE],
        "clip_text": "a circle and a square",
    },
}


def prompt(category, number=0, **changes):
    return Prompt(
        id=f"{category}-{number}",
        text=f"{category} prompt {number}",
        tag=category,
        meta={"category": category, **META[category], **changes},
    )


def suite(*prompts):
    return PromptSuite(name="small", version="1", prompts=prompts)


SIX = suite(*(prompt(category, n) for category in META for n in range(3)))


def detections(*entries, size=32):
    keys = ("class", "score", "box", "color")
    return {
        "width": size,
        "height": size,
        "detections": [dict(zip(keys, entry, strict=True)) for entry in entries],
    }


LEFT_RIGHT = detections(
    ("circle", 0.9, [2, 10, 12, 20], "red"), ("square", 0.7, [20, 10, 30, 20], "blue")
)


def predict(prompts, *, images=2, detector=LEFT_RIGHT, cosine=0.3, yes=0.5):
    evaluator = CompBench()
    records = {"detector": [], "vqa": [], "clip": []}
    for p in prompts:
        for k in range(images):
            key = {"prompt_id": p.id, "ordinal": k}
            questions = evaluator.queries("vqa", p)
            for role, values in (
                ("detector", detector),
                ("vqa", {"yes": [yes] * len(questions)}),
                ("clip", {"cosine": [cosine]}),
            ):
                if evaluator.wants(role, p):
                    records[role].append({**key, **json.loads(json.dumps(values))})
    return {role: Predictions(records=found) for role, found in records.items()}


def scores(prompts, predictions=None, evaluator=None):
    predictions = predictions or predict(prompts)
    return list((evaluator or CompBench()).score(prompts, predictions))


def test_each_category_is_looked_at_by_its_own_back_ends():
    evaluator = CompBench()
    wanted = {p.tag: [r for r in evaluator.spec.backends if evaluator.wants(r, p)] for p in SIX}
    assert wanted == {
        "color": ["vqa"],
        "shape": ["vqa"],
        "texture": ["vqa"],
        "spatial": ["detector"],
        "non_spatial": ["clip"],
        "complex": ["detector", "vqa", "clip"],
    }
    action = prompt("complex", complex_kind="action")
    assert [r for r in evaluator.spec.backends if evaluator.wants(r, action)] == ["vqa", "clip"]


def test_questions_and_captions():
    evaluator = CompBench()
    assert evaluator.queries("vqa", prompt("shape")) == ("a circle?",)
    assert evaluator.queries("vqa", prompt("texture")) == ("a striped circle?",)
    assert evaluator.queries("clip", prompt("non_spatial")) == ("non_spatial prompt 0",)
    assert evaluator.queries("clip", prompt("complex")) == ("a circle and a square",)
    assert evaluator.queries("clip", prompt("color")) == ()
    assert evaluator.queries("detector", prompt("spatial")) == ()


def test_scores_of_every_category():
    by_category = {r["category"]: r for r in scores(SIX)}
    assert by_category["color"]["score"] == by_category["color"]["attribute"] == 0.25
    assert by_category["texture"]["score"] == 0.5
    assert by_category["spatial"]["score"] == pytest.approx(0.25 * 0.9 + 0.25 * 0.7 + 0.5)
    assert by_category["non_spatial"]["score"] == 0.3
    # the circle is not above the square: 0.4 falls under the cut
    assert by_category["complex"]["spatial"] == 0.0
    assert by_category["complex"]["score"] == pytest.approx((0.5 + 0.0 + 0.3) / 3)
    assert by_category["color"]["spatial"] is None
    assert {r["profile"] for r in by_category.values()} == {"faithful"}
    json.dumps(list(by_category.values()))


def test_complex_kinds_take_their_own_parts():
    mean = {"spatial": (0.5 + 0.9) / 2, "action": (0.5 + 0.3) / 2, "spatialaction": 1.7 / 3}
    for kind, expected in mean.items():
        one = suite(prompt("complex", complex_kind=kind, relation="left of"))
        assert scores(one)[0]["score"] == pytest.approx(expected)


def test_distances_are_measured_in_the_official_detectors_pixels():
    near = suite(prompt("spatial", relation="next to"))
    boxes = (("circle", 1.0, [0, 0, 2, 2], None), ("square", 1.0, [20, 20, 22, 22], None))
    # 20 of 32 pixels are 299 of 479: 150/299.375 of nearness
    tiny = scores(near, predict(near, detector=detections(*boxes, size=32)))[0]["score"]
    assert tiny == pytest.approx(0.5 + 150 / 299.375 / 2)
    large = scores(near, predict(near, detector=detections(*boxes, size=512)))[0]["score"]
    assert large == 1.0


def test_a_colour_is_matched_only_where_the_prompt_gives_one():
    swapped = detections(
        ("circle", 1.0, [2, 10, 12, 20], "blue"), ("square", 1.0, [20, 10, 30, 20], "red")
    )
    by_class = suite(prompt("spatial"))
    by_color = suite(prompt("spatial", objects=[CIRCLE, SQUARE]))
    assert scores(by_class, predict(by_class, detector=swapped))[0]["score"] == 1.0
    assert scores(by_color, predict(by_color, detector=swapped))[0]["score"] == 0.0


def test_the_relation_is_read_from_the_text_where_meta_has_none():
    meta = {"category": "spatial", "objects": ["girl", "lamp"]}
    text = "a girl on the left of a lamp"
    one = suite(Prompt(id="a", text=text, tag="spatial", meta=meta))
    seen = detections(("person", 1.0, [2, 10, 12, 20], None), ("lamp", 1.0, [20, 10, 30, 20], None))
    assert scores(one, predict(one, detector=seen))[0]["score"] == 1.0


def test_on_top_of_has_no_rule_in_the_faithful_profile_only():
    above = detections(
        ("circle", 1.0, [10, 2, 20, 12], None), ("square", 1.0, [10, 20, 20, 30], None)
    )
    one = suite(prompt("spatial", relation="on top of"))
    predictions = predict(one, detector=above)
    assert scores(one, predictions)[0]["score"] == 0.5
    assert scores(one, predictions, CompBench(profile="clean"))[0]["score"] == 1.0


@pytest.mark.parametrize("phrases", [[], ["top", "the left"]])
def test_a_prompt_without_phrases_gets_a_flagged_full_mark_or_is_refused(phrases):
    one = suite(prompt("color", phrases=phrases), prompt("shape"))
    predictions = predict(one)
    found = scores(one, predictions)
    assert [(r["score"], r["flag"]) for r in found[:2]] == [(1.0, "no-phrases")] * 2
    assert found[2]["flag"] == ""
    with pytest.raises(UsageError, match="color-0"):
        scores(one, predictions, CompBench(profile="clean"))


def test_estimates_are_category_means_and_their_mean_with_intervals():
    rng = np.random.default_rng(0)
    predictions = predict(SIX, images=3)
    for record in predictions["vqa"].records:
        record["yes"] = rng.random(len(record["yes"])).tolist()
    evaluator = CompBench()
    records = scores(SIX, predictions)
    estimates = evaluator.aggregate(records, predictions)
    assert list(estimates) == [m.name for m in evaluator.spec.metrics]
    for category in META:
        mine = [r["score"] for r in records if r["category"] == category]
        assert estimates[category].value == pytest.approx(np.mean(mine))
        assert (estimates[category].n, estimates[category].clusters) == (9, 3)
    means = [estimates[category].value for category in META]
    assert estimates["overall"].value == pytest.approx(np.mean(means))
    assert estimates["color"].low < estimates["color"].value < estimates["color"].high
    assert estimates["non_spatial"].stderr == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("role", "index", "name"),
    [("vqa", 3, "color-1/1"), ("detector", 0, "spatial-0/0"), ("clip", 5, "non_spatial-2/1")],
)
def test_a_missing_prediction_of_any_back_end_is_refused_by_name(role, index, name):
    predictions = predict(SIX)
    del predictions[role].records[index]
    with pytest.raises(IncompleteError, match=f"no {role} prediction.*{name}"):
        scores(SIX, predictions)
    without = {r: p for r, p in predict(SIX).items() if r != role}
    with pytest.raises(IncompleteError, match=f"no {role} prediction"):
        scores(SIX, without)


@pytest.mark.parametrize(
    ("role", "key", "value", "match"),
    [
        ("vqa", "yes", [0.5, float("nan")], r"color-0/0: yes\[1\] is nan"),
        ("vqa", "yes", [0.5], "list of 2 numbers"),
        ("vqa", "yes", [0.5, 1.5], r"numbers in \(0.0, 1.0\)"),
        ("clip", "cosine", [float("nan")], "non_spatial-0/0.*nan"),
        ("clip", "cosine", [27.0], "numbers in"),
        ("clip", "cosine", None, "list of 1 numbers"),
        ("detector", "width", None, "spatial-0/0: width is None"),
        ("detector", "height", 0, "spatial-0/0 is 32 x 0"),
    ],
)
def test_broken_predictions_are_refused_naming_the_image(role, key, value, match):
    predictions = predict(SIX)
    predictions[role].records[0][key] = value
    with pytest.raises(ValueError, match=match):
        scores(SIX, predictions)


def test_a_nan_record_is_refused_in_the_aggregate():
    records = scores(SIX)
    records[4]["score"] = float("nan")
    with pytest.raises(ValueError, match="color-2/0"):
        CompBench().aggregate(records, {})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (prompt("spatial", relation="left off"), "left off.*left of"),
        (prompt("spatial", objects=["circle"]), "1 objects"),
        (prompt("complex", complex_kind="colour"), "complex_kind 'colour'"),
        (Prompt(id="x", text="a", tag="colour"), "'colour'.*color"),
        (Prompt(id="x", text="a cat", tag="color"), "'phrases' in its meta"),
        (Prompt(id="x", text="a cat near a dog", tag="spatial"), "'objects' in its meta"),
    ],
)
def test_prompts_that_cannot_be_scored_are_refused(changed, match):
    with pytest.raises(UsageError, match=match):
        one = suite(changed)
        scores(one, predict(one))


def test_an_unknown_profile_is_refused():
    with pytest.raises(UsageError, match="faithful"):
        CompBench(profile="faithfull")
