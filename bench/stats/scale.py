"""The scale a base is sampled at, by a rule that looks at nothing but the base.

Of a grid of guidance scales: that of least FID; and of those whose FID is within one standard
error of the least, the one nearest to the scale of the base's best GenEval. The standard error is
of the *paired* difference, both sets being of the same captions and noise: of leaving out the same
blocks of captions in both (a bootstrap of FID is biased; see `bench.stats.jackknife`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.api.errors import ProtocolError, UsageError
from bench.api.estimate import Estimate
from bench.stats.jackknife import combine, require_equal_n

SCALES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
"""The grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalePoint:
    """A base at one guidance scale, on validation prompts.

    Attributes:
        scale: classifier-free guidance.
        distance: FID, with the values without each block of captions.
        quality: GenEval.
    """

    scale: float
    distance: Estimate
    quality: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess:
    """How far a scale's FID is above the least.

    Attributes:
        scale: which.
        value: FID less the least FID; 0 at the scale of least.
        stderr: of that paired difference; 0 there.
    """

    scale: float
    value: float
    stderr: float

    @property
    def within(self) -> bool:
        """Whether it is no more than one standard error."""
        return self.value <= self.stderr


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleChoice:
    """What the rule says.

    Attributes:
        chosen: the scale.
        least: of least FID.
        best: of the base's best GenEval.
        excess: of every scale, ascending.
    """

    chosen: float
    least: float
    best: float
    excess: tuple[Excess, ...]

    @property
    def within(self) -> tuple[float, ...]:
        """The scales between which GenEval decides."""
        return tuple(e.scale for e in self.excess if e.within)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "chosen": self.chosen,
            "least_fid": self.least,
            "best_geneval": self.best,
            "within": list(self.within),
            "excess": {f"{e.scale:g}": {"value": e.value, "stderr": e.stderr} for e in self.excess},
        }


def choose_scale(points: Sequence[ScalePoint], grid: Sequence[float] = SCALES) -> ScaleChoice:
    """Return the rule's scale. Where two are as near to the best GenEval, the lower one.

    Args:
        points: one for each scale of the grid.
        grid: the scales that must be there.

    Raises:
        UsageError: a scale of the grid was not measured, or one twice; or FID has no values
            without blocks of captions.
        ProtocolError: FID of unlike numbers of images or unlike blocks.
        ValueError: a value is NaN or infinite, or there are fewer than two blocks.
    """
    scales = sorted(point.scale for point in points)
    if len(grid) < 2 or scales != sorted(grid):
        raise UsageError(
            f"the rule chooses among {', '.join(f'{s:g}' for s in sorted(grid))}; measured "
            f"{'were' if scales else 'was'} {', '.join(f'{s:g}' for s in scales) or 'none'}. "
            "Measure every scale of the grid, each once."
        )
    ordered = sorted(points, key=lambda point: point.scale)
    for point in ordered:
        if not point.distance.leave_out:
            raise UsageError(
                f"FID at scale {point.scale:g} has no values without blocks of captions, so its "
                "difference to another scale has no standard error; measure it on two captions or "
                "more"
            )
        if not math.isfinite(point.quality.value):
            raise ValueError(f"GenEval at scale {point.scale:g} is {point.quality.value}")
    require_equal_n({f"scale {p.scale:g}": p.distance.n for p in ordered}, "FID")
    require_equal_n({f"scale {p.scale:g}": p.quality.n for p in ordered}, "GenEval")
    least = min(ordered, key=lambda point: point.distance.value)
    best = max(ordered, key=lambda point: point.quality.value)
    excess = tuple(_excess(point, least) for point in ordered)
    near = [e.scale for e in excess if e.within]
    return ScaleChoice(
        chosen=min(near, key=lambda scale: (abs(scale - best.scale), scale)),
        least=least.scale,
        best=best.scale,
        excess=excess,
    )


def _excess(point: ScalePoint, least: ScalePoint) -> Excess:
    if point is least:
        return Excess(scale=point.scale, value=0.0, stderr=0.0)
    one, other = point.distance, least.distance
    if one.block_sizes != other.block_sizes:
        raise ProtocolError(
            f"FID at scales {point.scale:g} and {least.scale:g} was jackknifed over unlike blocks "
            "of captions; measure both on the same captions"
        )
    found = combine(
        one.value - other.value,
        [a - b for a, b in zip(one.leave_out, other.leave_out, strict=True)],
        one.block_sizes,
    )
    return Excess(scale=point.scale, value=found.value, stderr=found.stderr)
