"""3D spatial relations: golden values of the official code, and where "clean" departs from it."""

import numpy as np
import pytest

from evaluators.compbench.depth import (
    BEHIND,
    HIDDEN,
    IN_FRONT_OF,
    depth_position_score,
    depth_score,
    find_depth_relation,
    find_pair,
)
from evaluators.detections import Detection

NEAR_BY_FIRST_AXIS = np.zeros((479, 479), np.float32)
NEAR_BY_FIRST_AXIS[:240] = 1.0
A, B, C, FAR = (0, 0, 200, 400), (50, 0, 250, 400), (150, 0, 350, 400), (300, 0, 400, 400)


@pytest.mark.parametrize(
    ("relation", "a", "b", "expected"),
    [
        (IN_FRONT_OF, A, B, 1.0),
        (IN_FRONT_OF, A, C, 2 / 7),
        (BEHIND, A, B, 0.0),
        (HIDDEN, A, C, 0.0),
        (HIDDEN, C, A, 2 / 7),
        (IN_FRONT_OF, A, FAR, 0.0),
        ("next to", A, B, 0.0),
        (None, A, B, 0.0),
    ],
)
def test_golden_positions(relation, a, b, expected):
    assert depth_position_score(relation, NEAR_BY_FIRST_AXIS, a, b) == pytest.approx(expected)


def test_the_transposed_map_is_a_quirk_of_faithful_alone():
    upright = np.ascontiguousarray(NEAR_BY_FIRST_AXIS.T)
    assert depth_position_score(IN_FRONT_OF, upright, A, B) == 0.0
    assert depth_position_score(IN_FRONT_OF, upright, A, B, faithful=False) == 1.0
    assert depth_position_score(IN_FRONT_OF, NEAR_BY_FIRST_AXIS, A, B, faithful=False) == 0.0


def test_an_overlap_of_exactly_one_half_is_zero_in_faithful_alone():
    a, b = (0, 0, 300, 100), (100, 0, 400, 100)
    assert depth_position_score(IN_FRONT_OF, NEAR_BY_FIRST_AXIS, a, b) == 0.0
    upright = NEAR_BY_FIRST_AXIS.T
    assert depth_position_score(IN_FRONT_OF, upright, a, b, faithful=False) == 1.0


def test_a_box_outside_the_map_has_no_depth_and_scores_nothing():
    outside = (479.5, 0, 480, 100)
    assert depth_position_score(IN_FRONT_OF, NEAR_BY_FIRST_AXIS, A, outside) == 0.0
    assert depth_position_score(BEHIND, NEAR_BY_FIRST_AXIS, outside, outside) == 0.0


def test_exchanging_objects_exchanges_the_relation():
    rng = np.random.default_rng(0)
    for _ in range(50):
        depth = rng.random((479, 479))
        x, y = rng.uniform(0, 200, 2)
        a = (x, y, x + 150, y + 150)
        b = tuple(v + rng.uniform(5, 40) for v in a)
        there = depth_position_score(IN_FRONT_OF, depth, a, b)
        assert there == depth_position_score(BEHIND, depth, b, a)
        assert (there > 0) != (depth_position_score(BEHIND, depth, a, b) > 0)


def seen(*labels):
    return [
        Detection(label=label, score=0.9 - 0.1 * i, box=(i, 0, i + 100, 100))
        for i, label in enumerate(labels)
    ]


def test_objects_are_found_by_substring_the_last_one_before_both_are_met():
    found = seen("toy car", "car", "cat", "car")
    assert find_pair(found, "car", "cat") == (found[1], found[2])
    assert find_pair(found, "car", "cat", faithful=False) == (found[0], found[2])
    assert find_pair(found, "car", "dog") == (found[0], None)
    assert find_pair(found, "dog", "bird") == (None, None)


def test_small_scores_are_kept():
    a, b = seen("cat", "dog")
    assert depth_score(IN_FRONT_OF, NEAR_BY_FIRST_AXIS, a, None) == pytest.approx(0.225)
    assert depth_score(IN_FRONT_OF, NEAR_BY_FIRST_AXIS, None, b) == pytest.approx(0.2)
    assert depth_score(None, NEAR_BY_FIRST_AXIS, a, b) == pytest.approx(0.425)
    assert depth_score(None, NEAR_BY_FIRST_AXIS, None, None) == 0.0


def test_relations_are_found_in_the_text():
    assert find_depth_relation("a dog hidden by a desk") == HIDDEN
    assert find_depth_relation("a dog next to a desk") is None
