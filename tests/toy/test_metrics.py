"""The toy's metrics on samples whose values are known."""

import math

import pytest
import torch

from bench.spec.request import make_request
from bench.toy.metrics import (
    energy_distance,
    measure,
    moments,
    neighbour_overlap,
    sliced_wasserstein,
)
from bench.toy.ring import clean_mixture, draw_classes, noisy_mixture
from bench.toy.spec import settings_of

SETTINGS = settings_of(make_request("fig2")).settings
RING, SAMPLING = SETTINGS.ring, SETTINGS.sampling


def gaussian(mean: tuple[float, float], std: float, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(1, count, 2, generator=generator, dtype=torch.float64)
    return torch.tensor(mean, dtype=torch.float64) + std * points


def test_energy_distance_of_two_gaussians() -> None:
    """E|Z| of a plane Gaussian with standard deviation s is s sqrt(pi/2)."""
    x, y = gaussian((0.0, 0.0), 1.0, 2500, 0), gaussian((0.0, 0.0), 2.0, 2500, 1)
    half = math.sqrt(math.pi / 2.0)
    expected = half * (2.0 * math.sqrt(5.0) - math.sqrt(2.0) - math.sqrt(8.0))
    assert float(energy_distance(x, y)) == pytest.approx(expected, abs=0.05)
    same = [
        float(energy_distance(gaussian((0, 0), 1, 300, s), gaussian((0, 0), 1, 300, s + 50)))
        for s in range(20)
    ]
    assert min(same) < 0.0 < max(same)  # unbiased: around 0 where the two are the same
    assert abs(sum(same) / 20) < 0.01


def test_sliced_wasserstein_of_a_shift() -> None:
    """A shift by d has the distance |d| / sqrt(2) in the plane, over all directions."""
    x = gaussian((0.0, 0.0), 1.0, 200, 0)
    y = x + torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert float(sliced_wasserstein(x, y, 32)) == pytest.approx(5.0 / math.sqrt(2.0), rel=1e-12)
    # where a point stands may change how its projection is rounded, never by more than a few units
    rounding = 8 * torch.finfo(torch.float64).eps * float(x.abs().max())
    assert float(sliced_wasserstein(x, x.flip(1), 32)) <= rounding


def test_overlap_of_known_gaussians() -> None:
    """Equal covariances s^2 I at distance d: exp(-d^2 / (8 s^2))."""
    x = torch.cat([gaussian((0, 0), 1, 40_000, 0), gaussian((2, 0), 1, 40_000, 1)])
    assert neighbour_overlap(x).tolist() == pytest.approx([math.exp(-0.5)] * 2, abs=0.01)
    assert float(neighbour_overlap(x[:1])) == pytest.approx(1.0, abs=1e-12)


def test_moments() -> None:
    x = gaussian((1.0, -2.0), 0.5, 100, 3)
    mean, covariance = moments(x)
    assert torch.allclose(covariance[0], torch.cov(x[0].T))
    assert torch.allclose(mean[0], x[0].mean(dim=0))


def test_the_truth_measures_as_the_truth() -> None:
    found = measure(draw_classes(clean_mixture(RING), 400, 7, "test"), RING, SAMPLING)
    assert found["accuracy"] == 1.0
    assert found["overlap"] < 1e-4
    assert abs(found["energy"]) < 0.01
    assert found["std_ratio"] == pytest.approx(1.0, abs=0.03)
    assert found["shift"] == pytest.approx(0.0, abs=0.02)
    assert found["outside"] == pytest.approx(math.exp(-4.5), abs=0.01)


def test_the_noisy_data_measure_worse_and_a_shift_is_seen() -> None:
    noisy = draw_classes(noisy_mixture(RING), 400, 7, "test")
    found = measure(noisy, RING, SAMPLING)
    assert abs(found["energy_noisy"]) < 0.02
    assert found["energy"] > 0.15
    assert found["accuracy"] < 0.95
    assert found["overlap"] > 0.2
    assert found["std_ratio"] > 2.5
    clean = draw_classes(clean_mixture(RING), 400, 7, "test")
    outward = clean * 1.25
    assert measure(outward, RING, SAMPLING)["shift"] == pytest.approx(1.0, abs=0.03)
