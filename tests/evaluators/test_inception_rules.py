"""Inception score: closed forms, the published splits, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from evaluators.fid.inception_rules import ClassSums, inception_score, log_softmax


@pytest.mark.parametrize("splits", [1, 10])
def test_uniform_classes_score_one(splits: int) -> None:
    found = inception_score(np.full((50, 7), -3.2), splits=splits)
    assert found.mean == pytest.approx(1.0, abs=1e-12)
    assert found.std == pytest.approx(0.0, abs=1e-12)
    assert len(found.per_split) == splits


@pytest.mark.parametrize("classes", [2, 5, 500])
@pytest.mark.parametrize("certain", ["log-probabilities", "logits"])
def test_balanced_certain_classes_score_their_number(classes: int, certain: str) -> None:
    images = 2 * classes
    scores = np.full((images, classes), -math.inf if certain != "logits" else -800.0)
    scores[np.arange(images), np.arange(images) % classes] = 0.0
    assert inception_score(scores, splits=1).mean == pytest.approx(classes, rel=1e-12)


def test_one_class_only_scores_one() -> None:
    scores = np.full((20, 4), -math.inf)
    scores[:, 2] = 0.0
    assert inception_score(scores, splits=1).mean == pytest.approx(1.0, abs=1e-12)


def test_two_images_by_hand() -> None:
    # p = (.9, .1), (.3, .7); marginal (.6, .4)
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    divergence = (
        0.9 * math.log(0.9 / 0.6)
        + 0.1 * math.log(0.1 / 0.4)
        + 0.3 * math.log(0.3 / 0.6)
        + 0.7 * math.log(0.7 / 0.4)
    )
    expected = math.exp(divergence / 2)
    assert inception_score(np.log(p), splits=1).mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [40, 97])
def test_splits_follow_the_published_permutation(n: int) -> None:
    # the parts are torch-fidelity's: RandomState(2020).permutation, i * N // 10
    logits = np.random.default_rng(n).normal(size=(n, 6)) * 2
    order = np.random.RandomState(2020).permutation(n)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = []
    for i in range(10):
        part = p[order[i * n // 10 : (i + 1) * n // 10]]
        divergences = [scipy.stats.entropy(row, part.mean(axis=0)) for row in part]
        expected.append(math.exp(float(np.mean(divergences))))
    found = inception_score(logits)
    assert found.per_split == pytest.approx(expected, rel=1e-10)
    assert found.mean == pytest.approx(float(np.mean(expected)), rel=1e-10)
    assert found.std == pytest.approx(float(np.std(expected)), rel=1e-8)
    assert inception_score(logits, seed=1).per_split != pytest.approx(expected, rel=1e-6)


def test_logits_and_their_log_probabilities_score_alike_and_shifts_do_not_matter() -> None:
    logits = np.random.default_rng(0).normal(size=(60, 9)) * 3
    shift = np.random.default_rng(1).normal(size=(60, 1)) * 500
    expected = inception_score(logits).mean
    assert inception_score(log_softmax(logits)).mean == pytest.approx(expected, rel=1e-12)
    assert inception_score(logits + shift).mean == pytest.approx(expected, rel=1e-9)


def test_half_precision_scores_are_summed_in_double() -> None:
    half = (np.random.default_rng(2).normal(size=(3000, 12)) * 4).astype(np.float16)
    expected = inception_score(half.astype(np.float64)).mean
    assert inception_score(half).mean == expected


def test_score_lies_between_one_and_the_number_of_classes() -> None:
    generator = np.random.default_rng(3)
    for scale in (0.0, 0.1, 1.0, 10.0, 1000.0):
        value = inception_score(scale * generator.normal(size=(64, 5)), splits=1).mean
        assert 1.0 - 1e-12 <= value <= 5.0 + 1e-12


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    logits = np.random.default_rng(4).normal(size=(70, 5)) * 2
    whole, first = ClassSums.of(logits), ClassSums.of(logits[:25])
    merged = first + ClassSums.of(logits[25:])
    assert merged.count == 70
    assert merged.score() == pytest.approx(whole.score(), rel=1e-13)
    assert (whole - first).score() == pytest.approx(ClassSums.of(logits[25:]).score(), rel=1e-12)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_scores_are_refused_by_image(broken: float) -> None:
    scores = np.zeros((20, 3))
    scores[11, 2] = broken
    with pytest.raises(ValueError, match="of 1 images are NaN or infinite, first image 11"):
        inception_score(scores)


def test_an_image_without_any_class_is_refused() -> None:
    scores = np.zeros((20, 3))
    scores[4] = -math.inf
    with pytest.raises(ValueError, match="first image 4"):
        inception_score(scores)


def test_malformed_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(n, K\)"):
        inception_score(np.zeros(5))
    with pytest.raises(ValueError, match="cannot make 10 splits of 9 images"):
        inception_score(np.zeros((9, 3)))
    with pytest.raises(ValueError, match="cannot make 0 splits"):
        inception_score(np.zeros((9, 3)), splits=0)
    with pytest.raises(ValueError, match="one image or more"):
        ClassSums.of(np.zeros((0, 3))).score()
