"""Controls of a table: does its instrument see what is there, and nothing where nothing is?

Each control is tested one-sided against its base, all of a table as one family by Holm: a control
that must improve passes where it is found to be better, a null fails where it is.

Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from bench.stats.claims import ALPHA, MIN_TRAINING_SEEDS
from bench.stats.crossed import CrossedEstimate
from bench.stats.multiplicity import holm

Shows = Literal["improves", "null"]
Outcome = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """What a row must show in a column.

    Attributes:
        row, column: keys.
        shows: `"improves"`: better than its base; `"null"`: not better.
        higher_is_better: direction of the column.
        trained: whether the row or its base has training seeds, of which a test needs 3.
    """

    row: str
    column: str
    shows: Shows
    higher_is_better: bool
    trained: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlResult:
    """What the measurement says of a control.

    Attributes:
        row, column, shows: of the control.
        word: `"undecided"` where there is no test; `reason` says why.
        effect: the row less its base, in the column's unit and sign; None where nothing was
            paired. Its interval is two-sided and not corrected for the number of controls.
        p: one-sided p-value of the row being better; None where no test was made.
        p_holm: `p` corrected over all controls of the table. Compare it with the family's level.
        reason: why the word is what it is, one sentence.
    """

    row: str
    column: str
    shows: Shows
    word: Outcome
    effect: CrossedEstimate | None
    p: float | None
    p_holm: float | None
    reason: str

    @property
    def is_short_of_seeds(self) -> bool:
        """Whether it was not tested for want of training seeds."""
        few = self.effect is not None and self.effect.n_seeds < MIN_TRAINING_SEEDS
        return few and self.p is None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; unknown keys raise TypeError."""
        effect = data["effect"]
        found = None if effect is None else CrossedEstimate.from_json(effect)
        return cls(**{**data, "effect": found})


def judge_controls(
    controls: Sequence[Control],
    effects: Sequence[CrossedEstimate | str],
    *,
    alpha: float = ALPHA,
) -> list[ControlResult]:
    """Judge all controls of one table.

    Args:
        controls: what must be shown.
        effects: per control, the row less its base (`bench.stats.effects`); or a text that says
            why there is none. Such a control counts in the size of the family.
        alpha: error rate of the family.

    Returns:
        One result per control, in order.

    Raises:
        ValueError: not one effect per control.
    """
    found = [_tested(c, e) for c, e in zip(controls, effects, strict=True)]
    corrected = holm([p for p, _ in found])
    results = []
    for control, effect, (p, obstacle), p_holm in zip(
        controls, effects, found, corrected, strict=True
    ):
        word, reason = _word(control, p_holm, obstacle, alpha)
        results.append(
            ControlResult(
                row=control.row,
                column=control.column,
                shows=control.shows,
                word=word,
                effect=None if isinstance(effect, str) else effect,
                p=p,
                p_holm=p_holm,
                reason=reason,
            )
        )
    return results


def p_of_better(effect: CrossedEstimate, *, higher_is_better: bool) -> float | None:
    """Return the one-sided p-value of the true effect being for the better.

    Rows that agree on everything and leave no error term are not better than each other: 1. Other
    differences without an error term have no p.
    """
    if effect.p is None:
        return 1.0 if effect.value == 0.0 else None
    better = (effect.value > 0.0) == higher_is_better
    return effect.p / 2.0 if better else 1.0 - effect.p / 2.0


def _tested(control: Control, effect: CrossedEstimate | str) -> tuple[float | None, str]:
    """Return a control's p-value, or None and why it is not tested."""
    if isinstance(effect, str):
        return None, effect
    if control.trained and effect.n_seeds < MIN_TRAINING_SEEDS:
        paired = f"{effect.n_seeds} paired training seed" + "s" * (effect.n_seeds != 1)
        return None, f"{paired}; a test needs {MIN_TRAINING_SEEDS}"
    p = p_of_better(effect, higher_is_better=control.higher_is_better)
    missing = "no spread between seeds and prompts: nothing to judge the difference against"
    return p, "" if p is not None else missing


def _word(
    control: Control, p_holm: float | None, obstacle: str, alpha: float
) -> tuple[Outcome, str]:
    if p_holm is None:
        return "undecided", obstacle
    better = p_holm < alpha
    told = f"one-sided corrected p = {p_holm:.3g}"
    if control.shows == "improves":
        said = f"better, {told}" if better else f"not found to be better, {told}"
        return ("passed" if better else "failed"), said
    said = f"better, where nothing should be, {told}" if better else f"not better, {told}"
    return ("failed" if better else "passed"), said
