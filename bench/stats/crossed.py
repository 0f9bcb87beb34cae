"""One error term with all that would change if a study were done again: training seeds and prompts.

S training seeds are measured on the same P prompts, several images each: a crossed design. With
d[s] the value (or the paired difference) of seed s and d[s, p] the contribution of prompt p to it,

    seeds        V_s = variance over s of d[s], over S
    prompts      V_p = clustered variance over prompts of the mean over s of d[s, p]
    interaction  V_i = variance of what is left of d[s, p] without seed and prompt, over S

Image noise is in `prompts` where all seeds share it, and in the interaction where each has its own.
V_s and V_p both contain V_i, so their sum counts it twice. It is taken off once where it can be
estimated beside V_s, from `SEEDS_FOR_INTERACTION` seeds on, and never so far that the sum falls
below the larger of the two:

    V = V_s + V_p                             2 to 4 seeds
    V = max(V_s, V_p, V_s + V_p - V_i)        5 seeds and more
    V = V_p                                   1 seed: an interval *for this checkpoint*

The degrees of freedom f are the harmonic mean of those of the parts, weighted by their shares of V
(w = V_s / V): 1 / f = w / (S - 1) + (1 - w) / f_p. Satterthwaite's formula has w² in place of w;
with the 2 degrees of freedom of 3 seeds it lets .08 of null differences through a test at .05,
this one at most .058 (docs/reliability.md has the table). Where 5 or more seeds differ by no more
than the interaction says they would without a variance of their own, V is V_p, and f is f_p.

Source: Cornfield and Tukey, Ann. Math. Stat. 27 (1956) 907-949 (crossed random effects);
Satterthwaite, Biometrics Bulletin 2 (1946) 110-114; Cochran, Biometrics 20 (1964) 191-195 (on the
approximation with few degrees of freedom).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np

from bench.stats.contributions import Contributions, require_alike
from bench.stats.student import half_width_factor, quantile, two_sided_p
from bench.stats.terms import crossed_terms


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of an error term, with the interval that it alone would give.

    Attributes:
        variance: of the estimate, as far as this part goes.
        df: its degrees of freedom.
        low, high: interval from this part alone; None where it shows no spread.
    """

    variance: float
    df: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What an error term is made of.

    Attributes:
        seeds: over training seeds, prompts and noise as they are; None with one seed.
        prompts: given these checkpoints, over prompts and images; None where unknown.
        interaction: variance that both contain; None with fewer than two seeds.
    """

    seeds: Part | None = None
    prompts: Part | None = None
    interaction: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossedEstimate:
    """A value or a difference with the error term of training seeds and prompts.

    Attributes:
        value: mean over seeds, in the column's unit.
        stderr: square root of V; None where there is no spread or too little to know it.
        low, high: interval at the level asked for; None as `stderr`. Near the ends of a bounded
            scale it is not symmetric, and may be there where `stderr` is not.
        df: degrees of freedom f; None as `stderr`.
        n_seeds: training seeds. With one, all this holds for these checkpoints only.
        n_prompts: prompts; 0 where not known.
        parts: what V is made of, and the interval of either part.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    df: float | None = None
    n_seeds: int = 1
    n_prompts: int = 0
    parts: Parts = Parts()

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the t test of a true value of 0; None without `stderr`."""
        if self.stderr is None or self.df is None:
            return None
        return two_sided_p(self.value / self.stderr, self.df)

    def detectable(self, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
        """Return the smallest true effect that a test at `alpha` sees with this power.

        The sum of the two t quantiles times `stderr`; None without `stderr`.
        """
        if self.stderr is None or self.df is None:
            return None
        reach = half_width_factor(1.0 - alpha, self.df) + quantile(power, self.df)
        return reach * self.stderr

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; unknown keys raise TypeError."""
        parts = data["parts"]
        read = {
            name: None if parts[name] is None else Part(**parts[name])
            for name in ("seeds", "prompts")
        }
        return cls(**{**data, "parts": Parts(interaction=parts["interaction"], **read)})


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorTerm:
    """V and f of one estimate, with their parts; `variance` is None where it is unknown or 0."""

    value: float
    variance: float | None
    df: float | None
    parts: Parts


def error_term(
    by_seed: Sequence[Contributions], *, span: float | None = None, level: float = 0.95
) -> ErrorTerm:
    """Return the error term of the mean over seeds.

    Args:
        by_seed: one per training seed, of the same prompts (or blocks of prompts).
        span: largest size one image's value or difference can have, on a bounded scale: what
            prompts that all agree may hide; None leaves such a variance unknown.
        level: confidence level of the intervals of the parts.

    Raises:
        ProtocolError: unlike prompts or blocks.
        ValueError: no seed.
    """
    require_alike(by_seed)
    first, seeds = by_seed[0], len(by_seed)
    values = np.array([c.value for c in by_seed])
    value = math.fsum(values) / seeds
    if first.least_prompts < 2:
        # nothing is known of other prompts
        spread = float(values.var(ddof=1)) / seeds if seeds > 1 else 0.0
        over = _part(spread, seeds - 1, value, level) if seeds > 1 else None
        return ErrorTerm(value=value, variance=None, df=None, parts=Parts(seeds=over))
    terms = crossed_terms(
        values,
        np.stack([c.shares for c in by_seed]),
        first.tasks,
        largest_weight=first.largest_weight,
        span=span,
    )
    total = float(terms.total)
    parts = Parts(prompts=_part(float(terms.prompts), float(terms.df_prompts), value, level))
    if seeds > 1:
        over = _part(float(terms.seeds), seeds - 1, value, level)
        parts = replace(parts, seeds=over, interaction=float(terms.interaction))
    if total == 0.0:
        return ErrorTerm(value=value, variance=None, df=None, parts=parts)
    return ErrorTerm(value=value, variance=total, df=float(terms.df), parts=parts)


def estimate_of(
    term: ErrorTerm,
    *,
    seeds: int,
    prompts: int,
    level: float,
    given: tuple[float, float] | None = None,
) -> CrossedEstimate:
    """Return the estimate with its interval.

    Args:
        term: the error term.
        seeds, prompts: their numbers.
        level: confidence level.
        given: the interval *given these checkpoints*, where that is not the t interval of the
            prompts' part. Its ends are then moved out by the rest of V.
    """
    parts = term.parts
    low = high = None
    if given is not None and parts.prompts is not None:
        # what a t interval of either length would take for the variance over prompts
        factor = half_width_factor(level, parts.prompts.df)
        rest = (term.variance or parts.prompts.variance) - parts.prompts.variance
        scale = half_width_factor(level, term.df or parts.prompts.df)
        low = term.value - scale * math.hypot((term.value - given[0]) / factor, math.sqrt(rest))
        high = term.value + scale * math.hypot((given[1] - term.value) / factor, math.sqrt(rest))
        parts = replace(parts, prompts=replace(parts.prompts, low=given[0], high=given[1]))
    elif term.variance is not None and term.df is not None:
        half = half_width_factor(level, term.df) * math.sqrt(term.variance)
        low, high = term.value - half, term.value + half
    return CrossedEstimate(
        value=term.value,
        stderr=None if term.variance is None else math.sqrt(term.variance),
        low=low,
        high=high,
        df=term.df,
        n_seeds=seeds,
        n_prompts=prompts,
        parts=parts,
    )


def _part(variance: float, df: float, value: float, level: float) -> Part:
    if variance == 0.0:
        return Part(variance=0.0, df=df)
    half = half_width_factor(level, df) * math.sqrt(variance)
    return Part(variance=variance, df=df, low=value - half, high=value + half)
