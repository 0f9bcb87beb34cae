"""Student's t and the beta distribution, with nothing but the standard library.

The command line prints intervals without importing torch or scipy; the agreement with
`scipy.stats` is a test.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_TINY = 1e-300
_MAX_TERMS = 10_000


def regularised_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for 0 <= x <= 1 and a, b > 0.

    Source: the continued fraction DLMF 8.17.22, with the symmetry 8.17.4 where it is slow.

    Raises:
        ValueError: an argument outside its domain.
    """
    if not (0.0 <= x <= 1.0 and a > 0.0 and b > 0.0):
        raise ValueError(f"I_x(a, b) needs 0 <= x <= 1, a > 0, b > 0; got x={x}, a={a}, b={b}")
    if x in (0.0, 1.0):
        return x
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - regularised_beta(1.0 - x, b, a)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return math.exp(log_front) / _continued_fraction(x, a, b)


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return 1 + d1/(1 + d2/(1 + ...)) of DLMF 8.17.22 by the modified Lentz method."""
    value, c, d = 1.0, 1.0, 0.0
    for term in range(1, _MAX_TERMS):
        m = term // 2
        if term % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 + numerator * d
        c = 1.0 + numerator / c
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return value


def two_sided_p(t: float, df: float) -> float:
    """Return P(|T| >= |t|) for T with `df` degrees of freedom; accurate in the far tail.

    Raises:
        ValueError: `t` is NaN, or `df` is not positive.
    """
    if math.isnan(t) or not df > 0.0:
        raise ValueError(f"the t test needs a number and df > 0; got t={t}, df={df}")
    if math.isinf(t):
        return 0.0
    square = t * t
    if square < 1.0:  # the other tail of the beta, as df / (df + t²) would round to 1
        return 1.0 - regularised_beta(square / (df + square), 0.5, df / 2.0)
    return regularised_beta(df / (df + square), df / 2.0, 0.5)


def quantile(p: float, df: float) -> float:
    """Return the t with P(T <= t) = p, for 0 < p < 1.

    By bisection from a power of two, which Newton's method brings to its last steps: the digits
    are those of bisection alone, which stored tables hold.

    Raises:
        ValueError: `p` outside (0, 1) or `df` not positive.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"a quantile needs 0 < p < 1, got {p}")
    if p == 0.5:
        return 0.0
    tail = 2.0 * min(p, 1.0 - p)
    near = _near_quantile(tail, df)
    low, high = _power_of_two(near)
    if not two_sided_p(low, df) > tail >= two_sided_p(high, df):  # `near` was on a border
        low, high = 0.0, 1.0
        while two_sided_p(high, df) > tail:
            low, high = high, 2.0 * high
    else:
        width = (high - low) * 2.0**-40
        start = low + math.floor((near - low) / width) * width
        if two_sided_p(start, df) > tail >= two_sided_p(start + width, df):
            low, high = start, start + width
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if two_sided_p(middle, df) > tail:
            low = middle
        else:
            high = middle
    return math.copysign(0.5 * (low + high), p - 0.5)


def _near_quantile(tail: float, df: float) -> float:
    """Return the t with P(|T| >= t) = tail by Newton's method from the normal quantile.

    That lies below, and the tail is convex: every step goes up, and none too far.
    """
    log_peak = math.lgamma(0.5 * (df + 1.0)) - math.lgamma(0.5 * df) - 0.5 * math.log(math.pi * df)
    t = -NormalDist().inv_cdf(0.5 * tail)
    for _ in range(_MAX_TERMS):
        density = math.exp(log_peak - 0.5 * (df + 1.0) * math.log1p(t * t / df))
        step = (two_sided_p(t, df) - tail) / (2.0 * density)
        t += step
        if step <= 1e-14 * t:
            break
    return t


def _power_of_two(t: float) -> tuple[float, float]:
    """Return the bracket that doubling from (0, 1) ends in."""
    if t <= 1.0:
        return 0.0, 1.0
    exponent = math.frexp(t)[1] - 1
    return 2.0**exponent, 2.0 ** (exponent + 1)


@functools.lru_cache(maxsize=4096)
def beta_quantile(p: float, a: float, b: float) -> float:
    """Return the x with I_x(a, b) = p, for 0 < p < 1: Newton's method inside a bracket.

    Raises:
        ValueError: `p` outside (0, 1), or as `regularised_beta`.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"a quantile needs 0 < p < 1, got {p}")
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    low, high, x = 0.0, 1.0, a / (a + b)
    while high - low > 1e-14 * high:
        over = regularised_beta(x, a, b) - p
        low, high = (low, x) if over > 0.0 else (x, high)
        log_density = log_front + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x)
        following = x - over * math.exp(-log_density) if log_density > -600.0 else low
        if abs(following - x) <= 1e-14 * x:
            return following
        x = following if low < following < high else 0.5 * (low + high)
    return 0.5 * (low + high)


@functools.lru_cache(maxsize=1024)
def half_width_factor(level: float, df: float) -> float:
    """Return the multiple of the standard error that reaches to either end of a t interval.

    Args:
        level: two-sided confidence level, e.g. 0.95.
        df: degrees of freedom.
    """
    return quantile(0.5 + 0.5 * level, df)
