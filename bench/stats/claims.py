"""Verdicts on a paper's claims by the error term of training seeds and prompts together.

Planned claims come first. They are one family in fixed order: each is tested at `alpha`, but only
while all before it were supported, so that no correction is needed. All others are a second
family, corrected by Holm.

Source: Maurer, Hothorn and Lehmacher, Biometrie in der chemisch-pharmazeutischen Industrie 6
(1995) 3-18 (fixed order); Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

from bench.stats.crossed import CrossedEstimate
from bench.stats.multiplicity import holm

Word = Literal["supported", "inconclusive", "contradicted", "withheld"]
Family = Literal["planned", "other"]
MIN_TRAINING_SEEDS = 3
ALPHA = 0.05
"""Error rate of a family of tests."""
POWER = 0.8


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Row `better` beats row `worse` in `column`.

    Attributes:
        better, worse: row names.
        column: column name.
        higher_is_better: direction of the column.
        circular: the column's metric selected the data or was the reward of a method involved.
        planned: named before the run; planned claims are tested first, in the order given.
    """

    better: str
    worse: str
    column: str
    higher_is_better: bool
    circular: bool = False
    planned: bool = False

    def __str__(self) -> str:
        return f"{self.better} > {self.worse} on {self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the measurement says of a claim.

    Attributes:
        word: the verdict; `"withheld"` where a control that it rests on failed.
        effect: `better` less `worse` with its error term, in the column's unit and sign (negative
            where lower is better and the claim holds); None where nothing was paired. Its
            interval is not corrected for the number of claims.
        p: two-sided p-value of the test; None where none was made.
        p_holm: `p` corrected within the claim's family: by Holm, or, for planned claims, the
            largest p so far in their order. Compare it with .05 (the family's level).
        alpha: level at which `p` was compared, after correction: where Holm stood when it came to
            this claim, or the family's level for a planned one; None where nothing was paired.
        detectable: size of the true effect that the test at `alpha` sees in 80 of 100 runs; with
            one training seed, for these checkpoints; None where the effect has no error term.
        family: `"planned"` or `"other"`.
        reason: why the word is what it is, one sentence.
        controls: what is to be known of controls that the verdict rests on and that were not
            decided, a phrase each.
    """

    word: Word
    effect: CrossedEstimate | None
    p: float | None
    p_holm: float | None
    alpha: float | None
    detectable: float | None
    family: Family
    reason: str
    controls: tuple[str, ...] = ()

    @property
    def low(self) -> float | None:
        """Lower end of the effect's interval."""
        return None if self.effect is None else self.effect.low

    @property
    def high(self) -> float | None:
        """Upper end of the effect's interval."""
        return None if self.effect is None else self.effect.high

    @property
    def df(self) -> float | None:
        """Degrees of freedom of the effect's error term."""
        return None if self.effect is None else self.effect.df

    @property
    def n_seeds(self) -> int:
        """Number of training seeds paired."""
        return 0 if self.effect is None else self.effect.n_seeds

    @property
    def is_short_of_seeds(self) -> bool:
        """Whether a test was barred by too few training seeds; the effect holds for these."""
        return self.effect is not None and self.effect.n_seeds < MIN_TRAINING_SEEDS

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `controls` are left out where there is nothing to say."""
        data = {**asdict(self), "controls": list(self.controls)}
        return data if self.controls else {k: v for k, v in data.items() if k != "controls"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; unknown keys raise TypeError."""
        effect = data["effect"]
        found = None if effect is None else CrossedEstimate.from_json(effect)
        return cls(**{**data, "effect": found, "controls": tuple(data.get("controls", ()))})

    def withheld(self, because: str) -> Self:
        """Return the verdict of a claim that rests on a control which failed.

        The order of planned claims goes on: the test was made, and its result stays in `p`.
        """
        reason = f"{because}; without that control it would read {self.word}: {self.reason}"
        return replace(self, word="withheld", reason=reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Evidence:
    """The paired difference of one claim; `obstacle` says why it cannot be tested."""

    effect: CrossedEstimate | None
    p: float | None
    obstacle: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Test:
    """The level a claim was tested at and its p-value corrected; `gate` bars it from a word."""

    alpha: float
    p_holm: float | None
    gate: str = ""


def judge(
    claims: Sequence[Claim],
    effects: Sequence[CrossedEstimate | str],
    *,
    alpha: float = ALPHA,
) -> list[Verdict]:
    """Judge all claims of one table.

    A claim is `supported` (`contradicted`) when the t test of its paired difference against 0,
    corrected within its family, is below `alpha` and the effect has the claimed (opposite) sign.
    Otherwise it is `inconclusive`, as it is with fewer than three training seeds. A claim on a
    circular column is `supported` only if the same two rows also have a supported claim on one
    that is not.

    Args:
        claims: all claims of the table, planned ones in their order.
        effects: per claim, row `better` less row `worse` over the training seeds that both have
            (`bench.stats.effects`); or a text that says why there is none.
        alpha: error rate of either family.

    Returns:
        One verdict per claim, in order.

    Raises:
        ValueError: not one effect per claim.
    """
    evidence = [_evidence(effect) for _, effect in zip(claims, effects, strict=True)]
    tests: dict[int, _Test] = {}
    planned = [i for i, claim in enumerate(claims) if claim.planned]
    others = [i for i, claim in enumerate(claims) if not claim.planned]
    for index, test in zip(
        planned, _in_order([(claims[i], evidence[i]) for i in planned], alpha), strict=True
    ):
        tests[index] = test
    for index, test in zip(others, _by_holm([evidence[i].p for i in others], alpha), strict=True):
        tests[index] = test
    verdicts = [
        _verdict(claim, found, tests[index], alpha)
        for index, (claim, found) in enumerate(zip(claims, evidence, strict=True))
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


def _evidence(effect: CrossedEstimate | str) -> _Evidence:
    if isinstance(effect, str):
        return _Evidence(effect=None, p=None, obstacle=effect)
    obstacle = ""
    if effect.n_seeds < MIN_TRAINING_SEEDS:
        paired = f"{effect.n_seeds} paired training seed" + "s" * (effect.n_seeds != 1)
        obstacle = f"{paired}; a verdict needs {MIN_TRAINING_SEEDS}"
    elif effect.stderr is None:
        # a t test against no spread would call any difference certain
        obstacle = "no spread between seeds and prompts: nothing to judge the difference against"
    return _Evidence(effect=effect, p=None if obstacle else effect.p, obstacle=obstacle)


def _in_order(planned: Sequence[tuple[Claim, _Evidence]], alpha: float) -> list[_Test]:
    """Test planned claims in their order, each only while all before it were supported."""
    tests: list[_Test] = []
    gate, running = "", 0.0
    for claim, found in planned:
        running = max(running, 1.0 if found.p is None else found.p)
        p_holm = None if found.p is None else running
        tests.append(_Test(alpha=alpha, p_holm=p_holm, gate=gate))
        # a circular column's support is for these rows to back, not for the order of tests
        if not gate and not (found.p is not None and found.p < alpha and _as_claimed(claim, found)):
            gate = f"not tested: the planned claim before it ({claim}) was not supported"
            running = 1.0
    return tests


def _by_holm(p_values: Sequence[float | None], alpha: float) -> list[_Test]:
    """Test a family by Holm; the level of each claim is that where Holm came to it."""
    ranked = sorted(p for p in p_values if p is not None)
    return [
        _Test(
            alpha=alpha / (len(p_values) - (0 if p is None else ranked.index(p))), p_holm=corrected
        )
        for p, corrected in zip(p_values, holm(p_values), strict=True)
    ]


def _as_claimed(claim: Claim, found: _Evidence) -> bool:
    return found.effect is not None and (found.effect.value > 0.0) == claim.higher_is_better


def _verdict(claim: Claim, found: _Evidence, test: _Test, alpha: float) -> Verdict:
    word: Word = "inconclusive"
    reach = None if found.effect is None else found.effect.detectable(alpha=test.alpha, power=POWER)
    seen = "" if reach is None else f"; it could have seen an effect of {reach:.2g} or more"
    if found.p is None or test.p_holm is None:
        reason = found.obstacle + seen
    elif test.gate:
        reason = test.gate
    elif test.p_holm >= alpha:
        reason = f"corrected p = {test.p_holm:.3g}, not below {alpha:g}{seen}"
    else:
        as_claimed = _as_claimed(claim, found)
        word = "supported" if as_claimed else "contradicted"
        direction = "claimed" if as_claimed else "opposite"
        reason = f"the {direction} direction with corrected p = {test.p_holm:.3g}"
    return Verdict(
        word=word,
        effect=found.effect,
        p=found.p,
        p_holm=test.p_holm,
        alpha=None if found.effect is None else test.alpha,
        detectable=reach,
        family="planned" if claim.planned else "other",
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
