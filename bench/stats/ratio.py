"""The ratio of two differences that were measured on the same runs, by Fieller's theorem.

Source: E. C. Fieller, Some problems in interval estimation, JRSS B 16 (1954).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.stats.student import half_width_factor


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A measured difference: its value, the variance of that value and its degrees of freedom."""

    value: float
    variance: float
    df: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """A ratio; all None where the denominator's interval holds 0."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


def ratio_of(
    numerator: Difference, denominator: Difference, between: Difference, *, level: float = 0.95
) -> Ratio:
    """Return numerator / denominator with its interval.

    The interval holds all r for which `numerator - r * denominator` is not told from 0. With
    the denominator's own interval clear of 0 that set is one interval; otherwise the ratio may be
    anything, and none is given.

    Args:
        numerator, denominator: a and b.
        between: a - b, from which their covariance follows: var(a-b) = var(a) + var(b) - 2 cov.
        level: confidence level; the t factor is that of the least of the three degrees of freedom.

    Raises:
        ValueError: a value or a variance is no number, or a variance is negative.
    """
    numbers = [x for d in (numerator, denominator, between) for x in (d.value, d.variance)]
    if not all(map(math.isfinite, numbers)) or min(numbers[1::2]) < 0.0:
        raise ValueError(f"a ratio needs finite values and variances of 0 or more; got {numbers}")
    a, b = numerator.value, denominator.value
    square = half_width_factor(level, min(numerator.df, denominator.df, between.df)) ** 2
    # r solves (a - r b)² = t² (var a - 2 r cov + r² var b)
    quadratic = b * b - square * denominator.variance
    if quadratic <= 0.0:
        return Ratio()
    shared = (numerator.variance + denominator.variance - between.variance) / 2.0
    bound = math.sqrt(numerator.variance * denominator.variance)
    linear = a * b - square * max(-bound, min(bound, shared))
    constant = a * a - square * numerator.variance
    # rounding alone can make this negative: at r = a/b the left side is 0
    root = math.sqrt(max(0.0, linear * linear - quadratic * constant))
    return Ratio(value=a / b, low=(linear - root) / quadratic, high=(linear + root) / quadratic)
