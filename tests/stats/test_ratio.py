"""The ratio of two differences: Fieller's interval, and where there is none."""

import math

import numpy as np
import pytest

from bench.stats.ratio import Difference, ratio_of
from bench.stats.student import half_width_factor


def differences(
    a: float, b: float, va: float, vb: float, cov: float, df: float
) -> list[Difference]:
    return [
        Difference(value=a, variance=va, df=df),
        Difference(value=b, variance=vb, df=df),
        Difference(value=a - b, variance=va + vb - 2 * cov, df=df),
    ]


def test_the_ends_are_where_the_difference_is_just_told_from_0() -> None:
    a, b, va, vb, cov, df = 0.08, 0.06, 1e-4, 1.2e-4, 0.6e-4, 7.0
    found = ratio_of(*differences(a, b, va, vb, cov, df))
    assert found.value == pytest.approx(a / b)
    assert found.low is not None and found.high is not None and found.low < a / b < found.high
    for r in (found.low, found.high):
        t = (a - r * b) / math.sqrt(va - 2 * r * cov + r * r * vb)
        assert abs(t) == pytest.approx(half_width_factor(0.95, df), rel=1e-9)


def test_there_is_no_ratio_where_the_denominator_may_be_0() -> None:
    factor = half_width_factor(0.95, 9.0)
    for b, defined in ((0.99 * factor * 0.01, False), (1.01 * factor * 0.01, True)):
        found = ratio_of(*differences(0.05, b, 1e-4, 1e-4, 0.0, 9.0))
        assert (found.value is not None) is defined
        assert (found.low is None) is not defined


def test_without_spread_the_interval_is_the_ratio() -> None:
    found = ratio_of(*differences(3.0, 2.0, 0.0, 0.0, 0.0, 5.0))
    assert (found.low, found.value, found.high) == (1.5, 1.5, 1.5)


def test_the_interval_covers_the_true_ratio() -> None:
    """2,000 studies of ten paired runs; where a ratio is given, 95 % of the intervals hold it."""
    rng = np.random.default_rng(3)
    shared, covered, given = np.array([[1.0, 0.5], [0.5, 1.2]]) * 4e-4, 0, 0
    for _ in range(2000):
        runs = rng.multivariate_normal([0.08, 0.06], shared, size=10)
        sides = (runs[:, 0], runs[:, 1], runs[:, 0] - runs[:, 1])
        found = ratio_of(
            *(Difference(value=x.mean(), variance=x.var(ddof=1) / 10, df=9) for x in sides)
        )
        if found.low is not None and found.high is not None:
            given += 1
            covered += found.low <= 0.08 / 0.06 <= found.high
    assert given > 1990
    assert 0.935 <= covered / given <= 0.965


@pytest.mark.parametrize("broken", [{"a": math.nan}, {"va": -1.0}])
def test_no_number_is_refused(broken: dict[str, float]) -> None:
    values = {"a": 1.0, "b": 1.0, "va": 1.0, "vb": 1.0, "cov": 0.0, "df": 3.0, **broken}
    with pytest.raises(ValueError, match="finite values"):
        ratio_of(*differences(**values))
