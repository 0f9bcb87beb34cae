"""Fréchet distance and its streaming statistics against closed forms, scipy and clean-fid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from evaluators.fid.frechet import FrechetReference, GaussianSums, frechet_distance

Floats = NDArray[np.float64]


def covariance(generator: np.random.Generator, d: int, condition: float = 100.0) -> Floats:
    """A covariance with the given condition number and random directions."""
    q, _ = np.linalg.qr(generator.normal(size=(d, d)))
    return np.asarray((q * np.geomspace(1.0, condition, d)) @ q.T)


def by_square_root(m1: Floats, c1: Floats, m2: Floats, c2: Floats) -> float:
    root = scipy.linalg.sqrtm(c1 @ c2)
    return float(np.sum((m1 - m2) ** 2) + np.trace(c1 + c2 - 2.0 * np.real(root)))


@pytest.mark.parametrize("d", [1, 2, 8, 64])
def test_against_scipy_matrix_square_root(d: int) -> None:
    generator = np.random.default_rng(d)
    for _ in range(3):
        m1, m2 = generator.normal(size=(2, d))
        c1, c2 = covariance(generator, d), covariance(generator, d)
        expected = by_square_root(m1, c1, m2, c2)
        assert frechet_distance(m1, c1, m2, c2) == pytest.approx(expected, rel=1e-8)


def test_against_clean_fid() -> None:
    fid = pytest.importorskip("cleanfid.fid", reason="clean-fid is an optional extra")
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(400, 32)), 0.3 + 1.5 * generator.normal(size=(400, 32))
    sums_a, sums_b = GaussianSums.of(a), GaussianSums.of(b)
    theirs = float(
        fid.frechet_distance(
            a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False)
        )
    )
    assert FrechetReference.from_sums(sums_a).distance_to(sums_b) == pytest.approx(theirs, rel=1e-8)


def test_fewer_images_than_features() -> None:
    # exact oracle without a matrix square root: the trace is the nuclear norm of Xᵀ Y, centred,
    # over sqrt((n-1)(m-1))
    generator = np.random.default_rng(1)
    d, n, m = 48, 20, 30
    x = generator.normal(size=(n, d)) @ covariance(generator, d, 4.0)
    y = 0.5 + generator.normal(size=(m, d)) @ covariance(generator, d, 4.0)
    xc, yc = x - x.mean(axis=0), y - y.mean(axis=0)
    nuclear = np.linalg.svd(xc @ yc.T, compute_uv=False).sum() / math.sqrt((n - 1) * (m - 1))
    gap = x.mean(axis=0) - y.mean(axis=0)
    traces = np.sum(xc**2) / (n - 1) + np.sum(yc**2) / (m - 1)
    expected = float(gap @ gap + traces - 2 * nuclear)
    sums_x, sums_y = GaussianSums.of(x), GaussianSums.of(y)
    assert np.linalg.matrix_rank(sums_x.covariance()) == n - 1
    found = FrechetReference.from_sums(sums_x).distance_to(sums_y)
    assert found == pytest.approx(expected, rel=1e-5)
    roots = np.sqrt(np.abs(np.linalg.eigvals(sums_x.covariance() @ sums_y.covariance())))
    other = float(gap @ gap + traces - 2 * np.sum(roots))
    assert found == pytest.approx(other, rel=1e-5)


def test_equal_gaussians_are_at_distance_zero() -> None:
    generator = np.random.default_rng(2)
    mean, c = generator.normal(size=16), covariance(generator, 16)
    assert 0.0 <= frechet_distance(mean, c, mean, c) < 1e-9
    few = GaussianSums.of(generator.normal(size=(5, 16)))
    assert 0.0 <= FrechetReference.from_sums(few).distance_to(few) < 1e-5


def test_diagonal_covariances_in_closed_form() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.uniform(0.1, 9.0, size=(2, 12))
    m1, m2 = generator.normal(size=(2, 12))
    expected = float(np.sum((np.sqrt(a) - np.sqrt(b)) ** 2) + np.sum((m1 - m2) ** 2))
    assert frechet_distance(m1, np.diag(a), m2, np.diag(b)) == pytest.approx(expected, rel=1e-12)


def test_commuting_covariances_in_closed_form() -> None:
    generator = np.random.default_rng(4)
    q, _ = np.linalg.qr(generator.normal(size=(10, 10)))
    a, b = generator.uniform(0.1, 9.0, size=(2, 10))
    a[3], b[7] = 0.0, 0.0  # singular ones too
    expected = float(np.sum((np.sqrt(a) - np.sqrt(b)) ** 2))
    zero = np.zeros(10)
    found = frechet_distance(zero, (q * a) @ q.T, zero, (q * b) @ q.T)
    assert found == pytest.approx(expected, rel=1e-6)


def test_symmetry_translation_rotation_and_scale() -> None:
    generator = np.random.default_rng(5)
    m1, m2 = generator.normal(size=(2, 8))
    c1, c2 = covariance(generator, 8), covariance(generator, 8)
    q, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    value = frechet_distance(m1, c1, m2, c2)
    assert frechet_distance(m2, c2, m1, c1) == pytest.approx(value, rel=1e-10)
    assert frechet_distance(m1 + 7, c1, m2 + 7, c2) == pytest.approx(value, rel=1e-10)
    turned = frechet_distance(q @ m1, q @ c1 @ q.T, q @ m2, q @ c2 @ q.T)
    assert turned == pytest.approx(value, rel=1e-10)
    assert frechet_distance(3 * m1, 9 * c1, 3 * m2, 9 * c2) == pytest.approx(9 * value, rel=1e-10)


@pytest.mark.parametrize("batch", [1, 7, 64, 200])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_streaming_equals_numpy(batch: int, dtype: type[np.floating[Any]]) -> None:
    features: NDArray[Any] = np.random.default_rng(6).normal(size=(200, 5)).astype(dtype)
    sums = GaussianSums.empty(5)
    for start in range(0, 200, batch):
        sums.add(features[start : start + batch])
    exact = features.astype(np.float64)
    assert sums.count == 200
    np.testing.assert_allclose(sums.mean, exact.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(sums.covariance(), np.cov(exact, rowvar=False), rtol=1e-11)


def test_offsets_do_not_cancel() -> None:
    small = np.random.default_rng(7).normal(size=(300, 3))
    shifted = small + 1e6
    sums = GaussianSums.empty(3)
    for start in range(0, 300, 10):
        sums.add(shifted[start : start + 10])
    np.testing.assert_allclose(sums.covariance(), np.cov(small, rowvar=False), rtol=1e-7)
    rest = sums - GaussianSums.of(shifted[:100])
    np.testing.assert_allclose(rest.covariance(), np.cov(small[100:], rowvar=False), rtol=1e-7)
    # the textbook sums of squares lose all of it
    naive = (shifted.T @ shifted - 300 * np.outer(shifted.mean(0), shifted.mean(0))) / 299
    assert np.abs(naive - np.cov(small, rowvar=False)).max() > 1e-3


def test_merging_and_taking_out() -> None:
    x = np.random.default_rng(8).normal(size=(90, 4))
    first, second = GaussianSums.of(x[:30]), GaussianSums.of(x[30:])
    both = first + second
    np.testing.assert_allclose(both.covariance(), np.cov(x, rowvar=False), rtol=1e-12)
    rest = both - first
    assert rest.count == 60
    np.testing.assert_allclose(rest.mean, second.mean, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(rest.scatter, second.scatter, rtol=1e-10, atol=1e-11)
    # the parts are not changed by what is made of them
    np.testing.assert_array_equal(first.scatter, GaussianSums.of(x[:30]).scatter)
    np.testing.assert_array_equal(both.scatter, (first + second).scatter)
    nothing = both - both
    assert nothing.count == 0 and not nothing.scatter.any()
    np.testing.assert_allclose((nothing + first).scatter, first.scatter)
    np.testing.assert_allclose((first + GaussianSums.empty(4)).scatter, first.scatter)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_features_are_refused_by_image(broken: float) -> None:
    sums = GaussianSums.empty(2)
    sums.add(np.zeros((10, 2)))
    batch = np.zeros((5, 2))
    batch[3, 1] = broken
    with pytest.raises(ValueError, match="1 images are NaN or infinite, first image 13"):
        sums.add(batch)
    assert sums.count == 10


def test_broken_moments_are_refused_by_name() -> None:
    eye, zero = np.eye(2), np.zeros(2)
    holed = np.array([[1.0, math.nan], [math.nan, 1.0]])
    with pytest.raises(ValueError, match="reference covariance has entries that are NaN"):
        frechet_distance(zero, holed, zero, eye)
    with pytest.raises(ValueError, match="measured mean has entries that are NaN"):
        frechet_distance(zero, eye, np.array([0.0, math.nan]), eye)
    with pytest.raises(ValueError, match="measured covariance is not symmetric"):
        frechet_distance(zero, eye, zero, np.array([[1.0, 0.5], [0.1, 1.0]]))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3, 3\)"):
        FrechetReference(np.zeros(2), np.eye(3))
    with pytest.raises(ValueError, match="width 3, the reference 2"):
        FrechetReference(np.zeros(2), np.eye(2)).distance(np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        GaussianSums.empty(2).add(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"expected \(n, d\)"):
        GaussianSums.of(np.zeros(4))
    with pytest.raises(ValueError, match="two images"):
        GaussianSums.of(np.zeros((1, 2))).covariance()
    with pytest.raises(ValueError, match="do not mix"):
        GaussianSums.empty(2) + GaussianSums.empty(3)
    with pytest.raises(ValueError, match="cannot take 4 images out of 3"):
        GaussianSums.of(np.zeros((3, 2))) - GaussianSums.of(np.zeros((4, 2)))
