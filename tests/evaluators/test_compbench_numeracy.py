"""Numeracy: golden values of the official code, its parse, and where "clean" departs from it."""

import pytest

from evaluators.compbench.numeracy import asked_counts, numeracy_score, one_thing
from evaluators.detections import Detection

WIDE = (0, 0, 99, 99)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 99, 94), True),
        ((20, 20, 29, 29), True),
        ((20, 0, 119, 99), False),
        ((0, 0, 99, 90), True),
        ((5, 5, 104, 104), True),
        ((6, 6, 105, 105), False),
        ((200, 200, 210, 210), False),
    ],
)
def test_golden_repeats(other, expected):
    assert one_thing(WIDE, other) is expected
    assert one_thing(other, WIDE) is expected


def seen(*labels, apart=200):
    return [
        Detection(label=label, score=0.9, box=(apart * i, 0, apart * i + 99, 99))
        for i, label in enumerate(labels)
    ]


def test_presence_and_number_are_half_each():
    asked = [("dog", 2), ("cup", 1)]
    assert numeracy_score(seen("dog", "cup", "dog"), asked) == 1.0
    assert numeracy_score(seen("dog", "cup"), asked) == 0.75
    assert numeracy_score(seen("dog", "dog"), asked) == 0.5
    assert numeracy_score([], asked) == 0.0
    assert numeracy_score(seen("dog", "dog", apart=1), [("dog", 1)]) == 1.0
    with pytest.raises(ValueError, match="nothing"):
        numeracy_score([], [])


def test_a_noun_that_is_no_label_stands_for_labels_that_contain_it():
    assert numeracy_score(seen("coffee table", "dining table"), [("table", 2)]) == 1.0
    # an exact label hides the others
    assert numeracy_score(seen("table", "dining table"), [("table", 2)]) == 0.5


def test_synonyms_and_two_nouns_of_one_label():
    assert numeracy_score(seen("boat"), [("ship", 1)]) == 1.0
    people = [("boy", 1), ("girl", 2)]
    assert numeracy_score(seen("person", "person", "person"), people) == 0.5
    assert numeracy_score(seen("person", "person", "person"), people, faithful=False) == 1.0


NOUNS = [("boy", "boys"), ("fish", "fish"), ("toy car", "toy cars"), ("mouse", "mice")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two boys", [("boy", 2)]),
        ("a boy and four mice", [("boy", 1), ("mouse", 4)]),
        ("three fish", [("fish", 3)]),
        ("a fish", [("fish", 1)]),
        ("six toy cars and one boy", [("toy car", 6), ("boy", 1)]),
        ("a toy car", [("toy car", 1)]),
        ("eight boys near nine mice", [("boy", 8)]),
    ],
)
def test_numbers_are_read_as_upstream_reads_them(text, expected):
    assert asked_counts(text.split(), NOUNS) == expected


def test_a_prompt_without_a_number_is_refused():
    with pytest.raises(ValueError, match="no number with a noun"):
        asked_counts(["boys", "and", "mice"], NOUNS)
