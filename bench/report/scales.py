"""Planned claims at three guidance scales: what of an effect is left where guidance is free.

The verdict is that of the protocol's scale. The same difference is taken where the base is best,
and with each row where it is best itself. The latter is what is left of the effect once everybody
may choose a scale; the rest guidance gives. To be called supported without a word more, a claim
has to hold at all three, each at the level of one test: such a conjunction needs no correction.

Source of the last: Berger, Technometrics 24 (1982) 295-300 (intersection-union tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from bench.report.controls import baseline_of
from bench.report.model import CellData, TableData
from bench.report.paired import paired_cells, paired_contrast
from bench.report.pairing import common_cells, takes_fewer_seeds
from bench.stats import CrossedEstimate, Verdict
from bench.stats.claims import ALPHA, MIN_TRAINING_SEEDS


@dataclass(frozen=True, kw_only=True)
class ScaledClaim:
    """A planned claim at three scales.

    Attributes:
        claim: its place among the table's claims.
        scale: the protocol's, at which the verdict is.
        base_scale: where the base is best.
        own: where either row is best itself: the better's, the worse's.
        at_base: the difference where the base is best; None where it was not measured.
        at_own: the difference with each row at its own best.
        guidance: the difference at the protocol's scale less `at_own`: what guidance gives of it.
    """

    claim: int
    scale: float
    base_scale: float
    own: tuple[float, float]
    at_base: CrossedEstimate | None
    at_own: CrossedEstimate | None
    guidance: CrossedEstimate | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**asdict(self), "own": list(self.own)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        found = {
            name: None if data[name] is None else CrossedEstimate.from_json(data[name])
            for name in ("at_base", "at_own", "guidance")
        }
        return cls(**{**data, "own": tuple(data["own"]), **found})


def scaled_claims(data: TableData) -> tuple[ScaledClaim, ...]:
    """Return the planned claims at three scales, of a table that says its rows' best scales.

    Raises:
        ProtocolError: unlike images, training seeds or noise on both sides.
    """
    base = baseline_of(data)
    if not data.scales or base is None:
        return ()
    return tuple(
        _scaled(data, number, claim, base)
        for number, claim in enumerate(data.claims)
        if claim.get("planned") and {base, claim["better"], claim["worse"]} <= data.scales.keys()
    )


def _scaled(data: TableData, number: int, claim: Mapping[str, Any], base: str) -> ScaledClaim:
    column = data.column(claim["column"])
    sides = (claim["better"], claim["worse"])
    scale = protocol_scale(data, column["key"])
    at_base, own = data.scales[base], tuple(data.scales[row] for row in sides)
    few = takes_fewer_seeds(data, *sides)

    def at(better: float, worse: float) -> tuple[list[CellData], list[CellData]]:
        ours, theirs = (
            cells_at(data, row, column["key"], one, scale)
            for row, one in zip(sides, (better, worse), strict=True)
        )
        return common_cells(ours, theirs) if few else (ours, theirs)

    here, there, best = at(scale, scale), at(at_base, at_base), at(*own)
    whole = all(is_measured(cells) for cells in (*here, *best))
    return ScaledClaim(
        claim=number,
        scale=scale,
        base_scale=at_base,
        own=(own[0], own[1]),
        at_base=paired_cells(sides[0], column, there[0], there[1]).estimate,
        at_own=paired_cells(sides[0], column, best[0], best[1]).estimate,
        guidance=paired_contrast(column, here, best) if whole else None,
    )


def protocol_scale(data: TableData, column: str) -> float:
    """Return the guidance scale of a column's protocol."""
    for cell in data.cells:
        if cell.column == column and cell.protocol.get("generation"):
            return float(cell.protocol["generation"]["cfg_scale"])
    return 0.0


def cells_at(
    data: TableData, row: str, column: str, scale: float, protocol: float
) -> list[CellData]:
    """Return a row's cells at a scale: its own, or those of the row that shows it there."""
    if scale == protocol:
        return data.of(row, column)
    keys = [
        r["key"]
        for r in data.rows
        if r.get("scale_of") == row and r["sampling"]["cfg_scale"] == scale
    ]
    return data.of(keys[0], column) if keys else []


def is_measured(cells: list[CellData]) -> bool:
    """Return whether there are cells, and all of them were measured."""
    return bool(cells) and all(cell.state == "measured" for cell in cells)


def holds(effect: CrossedEstimate | None, *, higher_is_better: bool) -> bool:
    """Return whether an effect has the claimed sign by the test of a verdict, uncorrected."""
    if effect is None or effect.n_seeds < MIN_TRAINING_SEEDS or effect.p is None:
        return False
    return effect.p < ALPHA and (effect.value > 0.0) == higher_is_better


def guidance_share(verdict: Verdict, scaled: ScaledClaim) -> str:
    """Return what of a supported effect guidance gives, in words: `all`, `none` or `83 %`."""
    if verdict.effect is None or scaled.guidance is None or not verdict.effect.value:
        return "an unknown part"
    share = round(100.0 * scaled.guidance.value / verdict.effect.value)
    return "none" if share <= 0 else "all" if share >= 100 else f"{share} %"


def scale_qualifier(verdict: Verdict, scaled: ScaledClaim, *, higher_is_better: bool) -> str:
    """Return what stands behind the word of a verdict that is supported, else nothing.

    Args:
        verdict: at the protocol's scale.
        scaled: the claim at the others.
        higher_is_better: direction of the column.
    """
    if verdict.word != "supported":
        return ""
    if scaled.at_base is None or scaled.at_own is None:
        return f"at scale {scaled.scale:g}; the other scales were not measured"
    at_base = holds(scaled.at_base, higher_is_better=higher_is_better)
    at_own = holds(scaled.at_own, higher_is_better=higher_is_better)
    if at_base and at_own:
        return "at all three scales"
    shown = [scaled.scale, *([scaled.base_scale] if at_base else [])]
    fixed = " and ".join(f"{scale:g}" for scale in dict.fromkeys(shown))
    where = f"at scale{'s' if ' and ' in fixed else ''} {fixed}"
    if at_own:
        return f"{where} and with each row at its own best scale, not at {scaled.base_scale:g}"
    return f"{where}, where guidance gives {guidance_share(verdict, scaled)} of it"
