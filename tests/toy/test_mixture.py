"""The closed form of the reference, against automatic differentiation and integration."""

import math

import pytest
import torch

from bench.spec.request import make_request
from bench.toy.mixture import exact_noise, log_density
from bench.toy.network import alphas_cumprod
from bench.toy.ring import Mixture, clean_mixture, means, noisy_mixture
from bench.toy.spec import settings_of

RING = settings_of(make_request("fig2")).settings.ring


def case(mixture: Mixture, samples: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    alphas = alphas_cumprod(1000, 1e-4, 0.02)
    t = torch.randint(0, 1000, (samples,), generator=generator)
    t[:2] = torch.tensor([0, 999])
    label = torch.randint(0, len(mixture.weights), (samples,), generator=generator)
    x = 4.0 * torch.randn(samples, 2, generator=generator, dtype=torch.float64)
    return x, alphas[t], mixture.weights[label], mixture.centres[label]


@pytest.mark.parametrize("mixture", [clean_mixture(RING), noisy_mixture(RING)])
def test_the_noise_is_the_gradient_of_the_log_density(mixture: Mixture) -> None:
    x, alpha, weights, centres = case(mixture, 2000, 0)
    x.requires_grad_()
    log_density(x, alpha, weights, centres, mixture.std).sum().backward()
    assert x.grad is not None
    by_autograd = -(1.0 - alpha).sqrt()[:, None] * x.grad
    found = exact_noise(x.detach(), alpha, weights, centres, mixture.std)
    assert torch.allclose(found, by_autograd, rtol=0.0, atol=1e-6)
    assert float((found - by_autograd).abs().max()) < 1e-11


def test_the_density_integrates_to_one() -> None:
    mixture = noisy_mixture(RING)
    axis = torch.linspace(-12.0, 12.0, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    for alpha in (0.9999, 0.5, 0.01):
        rows = len(grid)
        log = log_density(
            grid,
            torch.full((rows,), alpha, dtype=torch.float64),
            mixture.weights[:1].expand(rows, -1),
            mixture.centres[:1].expand(rows, -1, -1),
            mixture.std,
        )
        mass = float(log.exp().sum()) * float(axis[1] - axis[0]) ** 2
        assert mass == pytest.approx(1.0, abs=1e-6)


def test_the_noise_is_the_mean_of_the_noise_given_the_point() -> None:
    """Least squares: no other function of (x_t, t, c) predicts the noise better on fresh draws."""
    mixture = noisy_mixture(RING)
    generator = torch.Generator().manual_seed(1)
    label = torch.zeros(200_000, dtype=torch.long)
    clean = mixture.draw(label, generator)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    alpha = torch.full((len(label),), 0.7, dtype=torch.float64)
    x = math.sqrt(0.7) * clean + math.sqrt(0.3) * noise
    found = exact_noise(x, alpha, mixture.weights[label], mixture.centres[label], mixture.std)
    residual = noise - found
    # the residual of a conditional mean is uncorrelated with every function of the point
    for other in (x, found, x.sin(), torch.ones_like(x)):
        product = (residual * other).flatten()
        error = float(product.std()) / math.sqrt(len(product))
        assert abs(float(product.mean())) < 4.5 * error


def test_one_gaussian_has_the_linear_prediction() -> None:
    mixture = clean_mixture(RING)
    x, alpha, weights, centres = case(mixture, 100, 2)
    variance = (alpha * RING.std**2 + 1.0 - alpha)[:, None]
    expected = (1 - alpha).sqrt()[:, None] * (x - alpha.sqrt()[:, None] * centres[:, 0]) / variance
    assert torch.allclose(exact_noise(x, alpha, weights, centres, RING.std), expected, atol=1e-12)


def test_the_ring() -> None:
    centres = means(RING)
    assert torch.allclose(centres.norm(dim=1), torch.tensor(4.0, dtype=torch.float64))
    assert torch.allclose(centres[0], torch.tensor([4.0, 0.0], dtype=torch.float64))
    assert centres[1, 1] > 0  # anti-clockwise
    noisy = noisy_mixture(RING)
    assert torch.allclose(noisy.weights.sum(dim=1), torch.ones(8, dtype=torch.float64))
    label = torch.full((20_000,), 3)
    drawn = noisy.draw(label, torch.Generator().manual_seed(0))
    expected = (noisy.weights[3, :, None] * noisy.centres[3]).sum(dim=0)
    assert torch.allclose(drawn.mean(dim=0), expected, atol=0.05)
    nearest = torch.cdist(drawn, centres).argmin(dim=1)
    flipped = float(((nearest == 2) | (nearest == 4)).double().mean())
    assert 0.10 < flipped < 0.25  # the labels flipped, and the spread over the border
