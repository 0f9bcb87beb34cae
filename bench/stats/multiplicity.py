"""Several claims judged in one table: family-wise correction."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's step-down adjusted p-values, in the order given.

    A None stays None and counts in the size of the family: a claim that could not be tested was
    still announced, and its absence must not make the others easier.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.

    Raises:
        ValueError: a p-value outside [0, 1] or NaN.
    """
    tested: list[tuple[float, int]] = []
    for index, p in enumerate(p_values):
        if p is None:
            continue
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value {index} is {p}, expected a number between 0 and 1")
        tested.append((p, index))
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, index) in enumerate(sorted(tested)):
        running = max(running, min(1.0, (len(p_values) - rank) * p))
        adjusted[index] = running
    return adjusted
