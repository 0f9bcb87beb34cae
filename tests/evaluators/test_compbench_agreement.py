import numpy as np
import pytest

from evaluators.agreement import agreement, attribute_agreement


def test_perfect_and_reversed_ranking():
    same = agreement([0.9, 0.8, 0.1], [1, 1, 0])
    assert (same.n, same.correct, same.ranking) == (3, 2, 1.0)
    assert same.pearson == pytest.approx(np.corrcoef([0.9, 0.8, 0.1], [1, 1, 0])[0, 1])
    assert agreement([0.1, 0.9], [1, 0]).pearson == pytest.approx(-1.0)
    assert agreement([0.1, 0.9], [1, 0]).ranking == 0.0


def test_ranking_is_the_share_of_ordered_pairs_with_ties_one_half():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, 60) / 4
    correct = rng.integers(0, 2, 60)
    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[correct == 1]
        for b in scores[correct == 0]
    ]
    assert agreement(scores.tolist(), correct.tolist()).ranking == pytest.approx(np.mean(pairs))


def test_what_never_varies_has_no_correlation():
    flat = agreement([0.5, 0.5], [1, 0])
    assert (flat.pearson, flat.ranking) == (None, 0.5)
    sure = agreement([0.1, 0.5], [1, 1])
    assert (sure.pearson, sure.ranking) == (None, None)
    with pytest.raises(ValueError, match="0 or 1"):
        agreement([0.1, 0.5], [0.5, 1])
    with pytest.raises(ValueError, match="as many"):
        agreement([0.1], [0, 1])


def row(prompt_id, ordinal, **values):
    return {"prompt_id": prompt_id, "ordinal": ordinal, **values}


def test_records_are_joined_by_image_whatever_their_order():
    attribute = [
        row("a", 0, category="color", attribute=0.9),
        row("a", 1, category="color", attribute=0.1),
        row("b", 0, category="shape", attribute=0.7),
        row("c", 0, category="spatial", attribute=None),
        row("d", 0, category="shape", attribute=0.2),
    ]
    detected = [row("b", 0, correct=1), row("a", 1, correct=0), row("a", 0, correct=1)]
    found = attribute_agreement(attribute, detected)
    assert {name: a.n for name, a in found.items()} == {"color": 2, "shape": 1, "all": 3}
    assert found["color"].pearson == pytest.approx(1.0)
    assert attribute_agreement(attribute, []) == {}


def test_a_nan_score_is_refused_by_name():
    with pytest.raises(ValueError, match="a/0: attribute is nan"):
        attribute_agreement(
            [row("a", 0, category="color", attribute=float("nan"))], [row("a", 0, correct=1)]
        )
