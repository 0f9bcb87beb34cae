"""Student's t against scipy and against tabulated values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats

from bench.stats import student

DEGREES = [1.0, 2.0, 2.5, 5.0, 19.0, 294.0, 1e5]


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("t", [-40.0, -3.2, -0.1, 0.0, 1e-6, 0.7, 2.0, 12.0, 300.0])
def test_the_tail_agrees_with_scipy(df: float, t: float) -> None:
    expected = float(2 * scipy.stats.t.sf(abs(t), df))
    assert student.two_sided_p(t, df) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("df", DEGREES)
@pytest.mark.parametrize("p", [1e-6, 0.025, 0.4, 0.5, 0.9, 0.975, 0.9995])
def test_quantile_agrees_with_scipy_and_inverts_the_tail(df: float, p: float) -> None:
    found = student.quantile(p, df)
    assert found == pytest.approx(float(scipy.stats.t.ppf(p, df)), rel=1e-9, abs=1e-12)
    assert student.two_sided_p(found, df) == pytest.approx(2 * min(p, 1 - p), rel=1e-9)


def test_textbook_half_widths() -> None:
    # two-sided 95 % points printed in any statistics table
    assert student.half_width_factor(0.95, 1) == pytest.approx(12.706, abs=5e-4)
    assert student.half_width_factor(0.95, 2) == pytest.approx(4.303, abs=5e-4)
    assert student.half_width_factor(0.95, 19) == pytest.approx(2.093, abs=5e-4)


def test_regularised_beta_agrees_with_scipy() -> None:
    generator = np.random.default_rng(0)
    for x, a, b in zip(
        generator.uniform(0, 1, 200),
        generator.uniform(0.1, 60, 200),
        generator.uniform(0.1, 60, 200),
        strict=True,
    ):
        expected = float(scipy.special.betainc(a, b, x))
        assert student.regularised_beta(x, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_infinite_t_is_certain_and_bad_input_is_refused() -> None:
    assert student.two_sided_p(math.inf, 2) == 0.0
    with pytest.raises(ValueError, match="df > 0"):
        student.two_sided_p(1.0, 0.0)
    with pytest.raises(ValueError, match="t=nan"):
        student.two_sided_p(math.nan, 2.0)
    with pytest.raises(ValueError, match="0 < p < 1"):
        student.quantile(1.0, 2.0)


@pytest.mark.parametrize("p", [1e-6, 0.025, 0.5, 0.975, 1 - 1e-6])
def test_beta_quantile_agrees_with_scipy(p: float) -> None:
    for a, b in ((0.5, 50.5), (50.5, 0.5), (1.5, 2.5), (3.0, 900.0), (500.0, 700.0), (0.5, 0.5)):
        expected = float(scipy.stats.beta.ppf(p, a, b))
        assert student.beta_quantile(p, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    with pytest.raises(ValueError, match="0 < p < 1"):
        student.beta_quantile(0.0, 1.0, 1.0)
