"""OneIG's rules: golden values made with the official functions, and what must always hold."""

import numpy as np
import pytest

from evaluators.oneig import rules
from evaluators.question_graph import dependent_scores


@pytest.mark.parametrize(
    ("wanted", "read", "edits", "matched", "total"),
    [
        ("['HELLO WORLD']", "Hello World", 8, 0, 2),
        ("['HELLO WORLD']", "HELLO WORLD!", 0, 2, 2),
        ("['Café au lait', 'Open 24/7']", "Cafe au lait Open 247", 1, 4, 5),
        ("['欢迎光临']", "欢迎 光临", 0, 4, 4),
        ("['欢迎光临']", "欢迎光监", 1, 3, 4),
        ("['abc']", "No text recognized.", 3, 0, 1),
        ("['abc']", "No text recognized", 17, 0, 1),
        ("['abc']", "abc\naddCriterion", 0, 1, 1),
    ],
)
def test_golden_readings(wanted: str, read: str, edits: int, matched: int, total: int) -> None:
    found = rules.compare_text(wanted, read)
    assert (found.edits, found.matched, found.wanted) == (edits, matched, total)


def test_a_grandchild_of_a_no_survives_unless_the_rule_is_transitive() -> None:
    yes, parents = {1: False, 2: True, 3: True}, {1: [0], 2: [1], 3: [2]}
    assert dependent_scores(yes, parents) == {1: 0, 2: 0, 3: 1}
    assert dependent_scores(yes, parents, transitive=True) == {1: 0, 2: 0, 3: 0}


def test_both_dependency_rules_agree_without_grandchildren() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        yes = {n: bool(rng.random() < 0.6) for n in range(1, 9)}
        parents = {n: [0] if n <= 4 else [int(rng.integers(1, 5))] for n in yes}
        direct = dependent_scores(yes, parents)
        assert direct == dependent_scores(yes, parents, transitive=True)
        assert all(direct[n] <= yes[n] for n in yes)


def test_a_circle_of_questions_is_refused_when_it_is_followed() -> None:
    with pytest.raises(ValueError, match="depends on itself"):
        dependent_scores({1: True, 2: True}, {1: [2], 2: [1]}, transitive=True)


def test_only_the_exact_yes_counts() -> None:
    assert [rules.is_yes(a) for a in ("Yes", "yes", "Yes.", " Yes", "No", "")] == [True] + 5 * [
        False
    ]


def test_text_score() -> None:
    assert rules.text_score(edits=0, complete=1, accuracy=1, limit=100) == 1
    assert rules.text_score(edits=250, complete=0, accuracy=0, limit=100) == 0
    assert rules.text_score(edits=20, complete=0.5, accuracy=0.25, limit=50) == pytest.approx(0.85)


def test_edit_distance_is_a_metric() -> None:
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abc"), size=rng.integers(0, 7))) for _ in range(40)]
    for a, b, c in rng.choice(words, size=(60, 3)):
        assert rules.edit_distance(a, b) == rules.edit_distance(b, a)
        assert (rules.edit_distance(a, b) == 0) == (a == b)
        assert rules.edit_distance(a, c) <= rules.edit_distance(a, b) + rules.edit_distance(b, c)


def test_style_takes_the_best_reference_of_each_encoder() -> None:
    assert rules.style_score({"csd": [0.2, 0.6, -0.1], "se": [-0.4, -0.2]}) == pytest.approx(0.3)


def test_distances_are_one_minus_the_correlation() -> None:
    rows = np.random.default_rng(2).normal(size=(5, 30)).astype(np.float32)
    expected = 1 - np.corrcoef(rows.astype(np.float64))
    assert np.allclose(rules.distances(rows), expected, atol=1e-12)
    assert np.allclose(rules.distances(rows), rules.distances(3 * rows + 7), atol=1e-6)
    with pytest.raises(ValueError, match="embedding 1 is constant"):
        rules.distances(np.array([[1.0, 2.0], [3.0, 3.0]]))


def test_black_is_exactly_black_or_nearly_so() -> None:
    assert rules.is_black(0) and not rules.is_black(1)
    assert rules.is_black(8, lossless=False) and not rules.is_black(9, lossless=False)
