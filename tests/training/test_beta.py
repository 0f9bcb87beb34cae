from __future__ import annotations

import pytest

from bench.training import beta

SD, SDXL = 4 * 64 * 64, 4 * 128 * 128  # latent elements at 512 and 1024 pixels


def test_published_values_in_each_convention() -> None:
    kappa = beta.kappa_from_beta_half_mean(16000)
    assert kappa == 8000
    assert beta.beta_sum_from_kappa(kappa, SD) == pytest.approx(16000 / (2 * 16384))
    assert beta.beta_sum_from_kappa(kappa, SD) == pytest.approx(0.48828125)
    assert beta.beta_sum_from_kappa(kappa, SDXL) == pytest.approx(0.1220703125)
    # diffusers' default 2500 is DiffusionDPO's 5000
    assert beta.kappa_from_beta_hf(2500) == beta.kappa_from_beta_half_mean(5000)


@pytest.mark.parametrize("kappa", [1.0, 8000.0])
def test_converters_are_inverse(kappa: float) -> None:
    assert beta.kappa_from_beta_half_mean(beta.beta_half_mean_from_kappa(kappa)) == kappa
    assert beta.kappa_from_beta_hf(kappa) == kappa
    assert beta.kappa_from_beta_sum(beta.beta_sum_from_kappa(kappa, SD), SD) == kappa
