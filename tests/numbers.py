"""Documents compared by what they say: words exactly, numbers within a bound."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def assert_same_document(found: str, expected: str, *, relative: float, rounded: bool) -> None:
    """Compare two texts that hold numbers.

    Words, and numbers without a fraction, must be the same. One with a fraction may differ by
    `relative` of max(1e-3, its size).

    Args:
        rounded: whether numbers were rounded for print. Then one in the last printed place is
            allowed too: the same value may have been rounded the other way.
    """
    assert _NUMBER.sub("#", found) == _NUMBER.sub("#", expected)
    for ours, theirs in zip(_NUMBER.findall(found), _NUMBER.findall(expected), strict=True):
        if ours == theirs:
            continue
        assert "." in theirs or "e" in theirs, (ours, theirs)
        a, b = Decimal(ours), Decimal(theirs)
        bound = Decimal(relative) * max(abs(b), Decimal("1e-3"))
        if rounded:
            bound = max(bound, Decimal(1).scaleb(int(b.as_tuple().exponent)))
        assert abs(a - b) <= bound, (ours, theirs)
