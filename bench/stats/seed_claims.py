"""Verdicts by training seeds alone: what stored tables hold until they are judged by
`bench.stats.claims`, whose test also counts prompts and image noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.stats.claims import MIN_TRAINING_SEEDS, Claim, Word
from bench.stats.multiplicity import holm
from bench.stats.seeds import RowValues, all_equal, over_seeds, paired_p_value, seed_differences


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the measurement says of a claim.

    Attributes:
        word: the verdict.
        effect: mean over training seeds of `better` less `worse`, in the column's unit and sign
            (negative where lower is better and the claim holds); None where nothing was paired.
        low, high: 95 % t interval of the effect, n-1 degrees of freedom, not corrected for the
            number of claims; None with fewer than two training seeds.
        p: two-sided p-value of the paired t test; None where it was not made.
        p_holm: `p` corrected for all claims of the table.
        n_seeds: number of training seeds paired.
        reason: why the word is what it is, one sentence.
    """

    word: Word
    effect: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    n_seeds: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Evidence:
    """The paired differences of one claim; `obstacle` says why they cannot be tested."""

    differences: tuple[float, ...]
    obstacle: str
    p: float | None


def judge(
    claims: Sequence[Claim],
    values: Mapping[tuple[str, str], RowValues],
    *,
    alpha: float = 0.05,
    level: float = 0.95,
) -> list[Verdict]:
    """Judge all claims of one table, on paired differences over training seeds.

    A claim is `supported` (`contradicted`) when the paired t test, Holm-corrected over all claims
    given here, is below `alpha` and the effect has the claimed (opposite) sign. Otherwise it is
    `inconclusive`, as it is with fewer than three training seeds. A claim on a circular column is
    `supported` only if the same two rows also have a supported claim on one that is not.

    Args:
        claims: all claims of the table: they are one family.
        values: by (row, column); a claim whose cells are missing is `inconclusive`.
        alpha: family-wise error rate.
        level: confidence level of the effect's interval.

    Returns:
        One verdict per claim, in order.

    Raises:
        ValueError: a value is NaN or infinite; the row, column and seed are named.
    """
    evidence = [_evidence(claim, values) for claim in claims]
    corrected = holm([e.p for e in evidence])
    verdicts = [
        _verdict(claim, found, p_holm, alpha, level)
        for claim, found, p_holm in zip(claims, evidence, corrected, strict=True)
    ]
    backed = {
        (claim.better, claim.worse)
        for claim, verdict in zip(claims, verdicts, strict=True)
        if verdict.word == "supported" and not claim.circular
    }
    return [
        _without_circular_support(claim, verdict, backed)
        for claim, verdict in zip(claims, verdicts, strict=True)
    ]


def _evidence(claim: Claim, values: Mapping[tuple[str, str], RowValues]) -> _Evidence:
    sides: list[RowValues] = []
    for row in (claim.better, claim.worse):
        side = values.get((row, claim.column))
        if side is None or not side.by_seed:
            return _Evidence(differences=(), obstacle=f"{row} has no {claim.column}", p=None)
        for seed, value in side.by_seed.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"row {row}, column {claim.column}, seed {seed}: the value is {value}; a claim "
                    "cannot be judged on it. Measure that cell again."
                )
        sides.append(side)
    if not any(side.trained for side in sides):
        return _Evidence(differences=(), obstacle="neither row was trained", p=None)
    differences = tuple(seed_differences(*sides).values())
    if len(differences) < MIN_TRAINING_SEEDS:
        paired = f"{len(differences)} paired training seed" + "s" * (len(differences) != 1)
        obstacle = f"{paired}; a verdict needs {MIN_TRAINING_SEEDS}"
        return _Evidence(differences=differences, obstacle=obstacle, p=None)
    if all_equal(differences):
        # a t test against no spread would call any such difference certain
        obstacle = "every training seed gave the same difference: nothing to judge it against"
        return _Evidence(differences=differences, obstacle=obstacle, p=None)
    return _Evidence(differences=differences, obstacle="", p=paired_p_value(differences))


def _verdict(
    claim: Claim, found: _Evidence, p_holm: float | None, alpha: float, level: float
) -> Verdict:
    word: Word = "inconclusive"
    effect = low = high = None
    if found.differences:
        summary = over_seeds(dict(enumerate(found.differences)), level=level)
        effect, low, high = summary.value, summary.low, summary.high
    if found.p is None or p_holm is None or effect is None:
        reason = found.obstacle
    elif p_holm >= alpha:
        reason = f"corrected p = {p_holm:.3g}, not below {alpha:g}"
    else:
        as_claimed = (effect > 0.0) == claim.higher_is_better
        word = "supported" if as_claimed else "contradicted"
        direction = "claimed" if as_claimed else "opposite"
        reason = f"the {direction} direction with corrected p = {p_holm:.3g}"
    return Verdict(
        word=word,
        effect=effect,
        low=low,
        high=high,
        p=found.p,
        p_holm=p_holm,
        n_seeds=len(found.differences),
        reason=reason,
    )


def _without_circular_support(
    claim: Claim, verdict: Verdict, backed: set[tuple[str, str]]
) -> Verdict:
    if verdict.word != "supported" or not claim.circular:
        return verdict
    if (claim.better, claim.worse) in backed:
        return verdict
    reason = f"{claim.column} is circular and no other column supports it; {verdict.reason}"
    return replace(verdict, word="inconclusive", reason=reason)
