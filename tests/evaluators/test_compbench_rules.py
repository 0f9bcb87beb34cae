import numpy as np
import pytest

from evaluators.compbench.parse import (
    Word,
    complex_objects,
    spatial_objects,
    without_adjectives,
)
from evaluators.compbench.rules import (
    BOTTOM_OF,
    LEFT_OF,
    LOCALITIES,
    ON_TOP_OF,
    RIGHT_OF,
    TOP_OF,
    attribute_score,
    best_detection,
    clean_question,
    complex_key,
    complex_kind,
    complex_score,
    detector_size,
    find_locality,
    position_score,
    questions,
    spatial_score,
    to_detector_pixels,
)
from evaluators.detections import Detection

SQUARE = (0, 0, 100, 100)


# Golden values: Karine-Huang/T2I-CompBench@1b70949:UniDet_eval/2D_spatial_eval.py, executed.
@pytest.mark.parametrize(
    ("locality", "a", "b", "expected"),
    [
        (LEFT_OF, SQUARE, (200, 0, 300, 100), 1.0),
        (LEFT_OF, SQUARE, (50, 0, 150, 100), 0.3),
        (LEFT_OF, SQUARE, (50, 50, 150, 150), 0.0),  # neither axis dominates
        ("next to", (0, 0, 10, 10), (200, 200, 210, 210), 0.75),
        ("next to", (0, 0, 10, 10), (400, 300, 410, 310), 0.375),
        ("near", (0, 0, 10, 10), (400, 100, 410, 110), 1.0),  # near on one axis is near
        (TOP_OF, SQUARE, (0, 90, 100, 190), 1.0),
        (BOTTOM_OF, SQUARE, (0, 90, 100, 190), 0.0),
        (RIGHT_OF, (200, 0, 300, 100), SQUARE, 1.0),
        (ON_TOP_OF, SQUARE, (0, 200, 100, 300), 0.0),  # recognised, but has no rule
        (None, SQUARE, (200, 0, 300, 100), 0.0),
    ],
)
def test_golden_position_score(locality, a, b, expected):
    assert position_score(locality, a, b) == pytest.approx(expected, abs=1e-12)


def test_boxes_without_area_have_no_overlap_and_no_crash():
    assert position_score(LEFT_OF, (5, 5, 5, 5), (9, 5, 9, 5)) == 1.0


def test_the_first_locality_of_the_list_is_taken():
    assert find_locality("a cat on the left of a lamp") == LEFT_OF
    assert find_locality("a cat on top of a lamp near a dog") == "near"
    assert find_locality("a cat on the top of a lamp") == TOP_OF
    assert find_locality("a cat under a lamp") is None
    assert set(map(find_locality, LOCALITIES)) == set(LOCALITIES)


def found(label, score, box=SQUARE, color=None):
    return Detection(label=label, score=score, box=box, color=color)


def test_spatial_score_adds_quarters_and_cuts_at_a_half():
    a, b = found("cat", 0.8), found("lamp", 0.6, (200, 0, 300, 100))
    assert spatial_score(LEFT_OF, a, b) == pytest.approx(0.2 + 0.15 + 0.5)
    assert spatial_score(RIGHT_OF, a, b) == 0.0  # 0.35 is below the cut
    sure = found("cat", 1.0), found("lamp", 1.0, (200, 0, 300, 100))
    assert spatial_score(RIGHT_OF, *sure) == 0.5  # exactly a half stays
    assert spatial_score(LEFT_OF, found("cat", 1.0), None) == 0.0  # one object alone is nothing
    assert spatial_score(LEFT_OF, None, None) == 0.0


def test_the_best_detection_has_the_exact_label_and_passes_the_hard_coded_threshold():
    seen = [
        found("cat", 0.09),
        found("house cat", 0.9),
        found("cat", 0.4, color="red"),
        found("cat", 0.7, color="blue"),
        found("dog", float(np.float32(0.1))),
    ]
    assert best_detection(seen, "cat") is seen[3]
    assert best_detection(seen, "cat", "red") is seen[2]
    assert best_detection(seen, "dog") is None
    assert best_detection(seen, None) is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (479, 479)),
        ((32, 32), (479, 479)),
        ((1000, 500), (480, 240)),
        ((500, 1000), (240, 480)),
        ((479, 480), (479, 480)),
    ],
)
def test_the_detectors_image_size(size, expected):
    assert detector_size(*size) == expected


def test_boxes_are_scaled_to_the_detectors_pixels():
    assert to_detector_pixels((8, 0, 16, 32), 32, 32) == (119.75, 0, 239.5, 479)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("A Red Apple?", "a red apple?"),
        ('the #1 "dog" (left).?', "the 1 dog left?"),
        ("it's x;y:z~*!", "it's xyz"),
        ("trailing   ", "trailing"),
        (" ".join(["word"] * 60) + "?", " ".join(["word"] * 50)),
        ("?", "?"),
    ],
)
def test_questions_are_cleaned_as_upstream_cleans_them(question, expected):
    assert clean_question(question) == expected


def test_places_are_not_asked_about_and_at_most_eight_phrases_are():
    phrases = ["The cat", "top", "the left", "a lamp", "the right", "the side", "The top"]
    assert questions(phrases) == ("the cat?", "a lamp?", "the top?")
    assert questions([f"thing {i}" for i in range(12)])[-1] == "thing 7?"
    assert questions([]) == ()


def test_answers_are_rounded_to_four_decimals_before_and_after_the_product():
    # 0.12345 rounds to 0.1235 or 0.1234 by the float32 it is; 0.9876 x 0.4321 = 0.42674...
    assert attribute_score([0.98764, 0.43212]) == 0.4267
    assert attribute_score([0.00004, 1.0]) == 0.0
    assert attribute_score([0.99996]) == 1.0
    assert attribute_score([0.5] * 3) == 0.125
    assert attribute_score([]) == 1.0  # a missing phrase counts 1


def test_the_product_is_taken_in_float32_in_the_order_of_the_questions():
    rng = np.random.default_rng(0)
    for _ in range(300):
        answers = rng.random(rng.integers(1, 9)).tolist()
        product = np.float32(1)
        for answer in answers:
            product = np.float32(product * np.float32(f"{np.float32(answer):.4f}"))
        assert attribute_score(answers) == float(f"{product:.4f}")


def test_complex_scores_are_means_of_what_the_kind_calls_for():
    parts = {"attribute": 0.6, "spatial": 0.9, "action": 0.3}
    assert complex_score("spatial", **parts) == pytest.approx(0.75)
    assert complex_score("action", **parts) == pytest.approx(0.45)
    assert complex_score("spatialaction", **parts) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="spatialaction"):
        complex_score("colour", **parts)


def test_complex_kind_goes_by_the_text_before_the_first_full_stop():
    spatial = frozenset({complex_key("The Red hat was on top of the rack.\n")})
    action = frozenset({complex_key("The dog sleeps.")})
    assert complex_kind("the red hat was on top of the rack. Really.", spatial, action) == "spatial"
    assert complex_kind("The dog sleeps", spatial, action) == "action"
    assert complex_kind("The dog sleeps on the hat", spatial, action) == "spatialaction"


def tagged(text):
    tags = {"n": "NOUN", "p": "PROPN", "a": "ADJ"}
    pairs = [word.rpartition("/") for word in text.split()]
    return [Word(name or tag, tags.get(tag, "X") if name else "X") for name, _, tag in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the red/a hat/n was on top/n of the rack/n .", ("hat", "rack")),
        ("the hat/n of Bob/p was next to Rex/p the dog/n", ("Bob", "dog")),
        ("the hat/n was near Big/p Ben/p .", ("hat", "Ben")),
        ("the hat/n was near Ben/p", (None, None)),  # a proper noun that ends the prompt
        ("a hat/n near a cup/n near a lamp/n", (None, None)),  # two prepositions, four nouns
        ("a hat/n under a cup/n", (None, None)),
    ],
)
def test_nouns_around_the_preposition_of_a_complex_prompt(text, expected):
    assert complex_objects(tagged(text)) == expected


def test_first_and_last_noun_of_a_spatial_prompt():
    assert spatial_objects(tagged("a cat/n on the left/n of a lamp/n")) == ("cat", "lamp")
    with pytest.raises(ValueError, match="no noun in 'under it'"):
        spatial_objects(tagged("under it"))


def test_clip_is_asked_without_adjectives():
    assert without_adjectives(tagged("the red/a hat/n .")) == "the hat ."
