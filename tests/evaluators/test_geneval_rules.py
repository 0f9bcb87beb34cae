import numpy as np
import pytest

from evaluators.detections import Detection, parse_detections
from evaluators.geneval.rules import (
    RELATIONS,
    evaluate,
    iou,
    judge,
    keep,
    overall_score,
    relative_position,
    task_scores,
)


def thing(label, score=0.95, box=(0, 0, 10, 10), color=None):
    return Detection(label=label, score=score, box=box, color=color)


# Golden values: djghosh13/geneval@af4902f:evaluation/evaluate_images.py, executed.
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (100, 0, 110, 10), {"left of"}),
        ((0, 0, 100, 100), (40, 0, 140, 100), set()),  # exactly one half is not above it
        ((0, 0, 100, 100), (41, 0, 141, 100), {"left of"}),
        ((0, 0, 10, 10), (50, 50, 60, 60), {"above", "left of"}),
        ((0, 0, 10, 10), (20, 60, 30, 70), {"above"}),
        ((5, 5, 9, 9), (5, 5, 9, 9), set()),
    ],
)
def test_golden_relative_position(a, b, expected):
    assert set(relative_position(a, b)) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 9, 9), (5, 5, 14, 14), 0.142857142857),
        ((0, 0, 9, 9), (9, 9, 19, 19), 0.004545454545),
        ((0, 0, 9, 9), (10, 0, 19, 9), 0.0),
        ((0, 0, -1, -1), (0, 0, -1, -1), 0.0),
    ],
)
def test_golden_iou_counts_both_corner_pixels(a, b, expected):
    assert iou(a, b) == pytest.approx(expected, abs=1e-12)


def random_boxes(n):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 400, size=(n, 2, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 110, size=(n, 2, 2))], axis=-1)


def test_swapping_the_boxes_mirrors_the_relation():
    mirror = {"left of": "right of", "above": "below", "right of": "left of", "below": "above"}
    seen = set()
    for a, b in random_boxes(500):
        relations = relative_position(a, b)
        assert {mirror[r] for r in relations} == set(relative_position(b, a))
        seen |= set(relations)
    assert seen == set(RELATIONS)


def test_relations_survive_moving_and_scaling_both_boxes():
    for a, b in random_boxes(500):
        relations = relative_position(a, b)
        assert relative_position(a + 64, b + 64) == relations
        assert relative_position(a * 0.25, b * 0.25) == relations


def test_counting_two_with_three_found_is_wrong_and_says_so():
    asked = {
        "include": [{"class": "bench", "count": 2}],
        "exclude": [{"class": "bench", "count": 3}],
    }
    verdict = judge([thing("bench")] * 3, asked, task="counting")
    assert (verdict.correct, verdict.reason) == (False, "expected bench<3, found 3")
    assert judge([thing("bench")] * 2, asked, task="counting").correct
    one = judge([thing("bench")], asked, task="counting")
    assert one.reason == "expected bench>=2, found 1"


def test_a_lower_ranked_object_of_the_right_colour_does_not_rescue():
    asked = {"include": [{"class": "cup", "count": 1, "color": "red"}]}
    blue, red = thing("cup", 0.8, color="blue"), thing("cup", 0.7, color="red")
    verdict = judge([red, blue], asked, task="colors")
    assert verdict.reason == "expected red cup>=1, found 0 red; and 1 blue"
    assert judge([thing("cup", 0.9, color="red"), blue], asked, task="colors").correct


def test_colours_are_listed_in_the_official_order_then_others_as_they_appear():
    asked = {"include": [{"class": "cup", "count": 4, "color": "red"}]}
    colors = ("cyan", "white", "orange", None)
    cups = [thing("cup", 0.9 - i / 10, color=c) for i, c in enumerate(colors)]
    verdict = judge(cups, asked, task="colors")
    assert verdict.reason == "expected red cup>=4, found 0 red; and 1 orange, 1 white, 1 cyan"


POSITION = {
    "include": [
        {"class": "dog", "count": 1},
        {"class": "cat", "count": 1, "position": ["left of", 0]},
    ]
}


def test_a_missing_target_gives_two_reasons_in_clause_order():
    verdict = judge([thing("cat")], POSITION, task="position")
    assert not verdict.correct
    assert verdict.reason == "expected dog>=1, found 0\nno target for cat to be left of"


def test_a_wrong_position_names_what_was_found_in_fixed_order():
    cat = thing("cat", box=(100, 100, 110, 110))
    verdict = judge([thing("dog"), cat], POSITION, task="position")
    assert verdict.reason == "expected cat left of target, found right of and below target"
    dog = thing("dog", box=(200, 100, 210, 110))
    assert judge([dog, cat], POSITION, task="position").correct


def test_position_is_not_looked_at_where_the_colour_is_wrong():
    clause = {"class": "cat", "count": 1, "color": "red", "position": ["left of", 0]}
    asked = {"include": [{"class": "dog", "count": 1}, clause]}
    cat = thing("cat", box=(100, 0, 110, 10), color="blue")
    verdict = judge([thing("dog"), cat], asked, task="position")
    assert verdict.reason == "expected red cat>=1, found 0 red; and 1 blue"


def test_thresholds_are_exclusive_in_float32_and_higher_for_counting():
    asked = {"include": [{"class": "bench", "count": 1}]}
    stored = float(np.float32(0.3))  # 0.30000001192092896
    assert not judge([thing("bench", stored)], asked, task="two_object").correct
    assert judge([thing("bench", 0.3001)], asked, task="two_object").correct
    assert not judge([thing("bench", 0.8)], asked, task="counting").correct
    assert judge([thing("bench", 0.91)], asked, task="counting").correct


def test_kept_objects_are_sorted_stably_and_at_most_sixteen_a_class():
    found = [thing("a", 0.5, (i, 0, i + 1, 1)) for i in range(20)]
    found.insert(7, thing("a", 0.6, (99, 0, 100, 1)))
    kept = keep(found, threshold=0.3)["a"]
    assert [d.box[0] for d in kept] == [99, *range(15)]


def test_suppression_is_off_by_default_and_merges_overlaps_when_asked():
    same = [thing("a", 0.9), thing("a", 0.8), thing("a", 0.7, (50, 50, 60, 60))]
    assert len(keep(same, threshold=0.3)["a"]) == 3
    assert [d.score for d in keep(same, threshold=0.3, nms_iou=0.5)["a"]] == [0.9, 0.7]


def test_overall_is_the_mean_of_tasks_not_of_images():
    tags, correct = ["a", "a", "a", "b"], [1, 1, 1, 0]
    assert task_scores(tags, correct) == {"a": 1.0, "b": 0.0}
    assert overall_score(tags, correct) == 0.5


def test_clauses_are_met_by_any_vocabulary():
    asked = {"include": [{"class": "striped cross", "count": 1, "color": "cyan"}]}
    assert evaluate({"striped cross": [thing("striped cross", color="cyan")]}, asked).correct


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"class": "a", "score": float("nan"), "box": [0, 0, 1, 1]}, "p7/3.*finite"),
        ({"class": "a", "score": 0.5, "box": [0, 0, 1, float("inf")]}, "p7/3.*finite"),
        ({"class": "a", "score": 0.5, "box": [0, 0, 1]}, "p7/3.*four numbers"),
        ({"class": "a", "box": [0, 0, 1, 1]}, "p7/3.*four numbers"),
        ({"class": "a", "score": 0.5, "box": [0, 0, 1, 1]}, "p7/3.*colour"),
    ],
)
def test_broken_detections_are_refused_naming_the_image(entry, match):
    record = {"prompt_id": "p7", "ordinal": 3, "detections": [entry]}
    with pytest.raises(ValueError, match=match):
        parse_detections(record, colored={"a"})
    with pytest.raises(ValueError, match="no 'detections'"):
        parse_detections({"prompt_id": "p7", "ordinal": 3})
