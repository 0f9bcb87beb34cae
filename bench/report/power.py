"""What a planned run of a table can see, from the variances of one that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.api.errors import BenchError
from bench.report.model import CellData, TableData
from bench.report.pairing import compared_cells, matched, other_noise
from bench.stats.claims import ALPHA
from bench.stats.components import Components, components_of_means, components_of_metrics
from bench.stats.power import Design, needed, visible

if TYPE_CHECKING:
    from bench.spec.claims import ClaimSpec


@dataclass(frozen=True, kw_only=True)
class PlannedPower:
    """What a planned run sees of one claim.

    Attributes:
        better, worse, column: of the claim.
        planned: it is tested before the others, at .05; the others are by Holm, the first of them
            at .05 over their number.
        alpha: that level.
        design: sizes of the planned run.
        components: variances of the measured difference; None where `reason` says why not.
        visible: smallest true difference seen in 80 of 100 runs, in the column's unit.
        effect: the one asked after, or the published difference; None without either.
        needed: how many seeds, prompts and images it needs, each alone changed.
        reason: why there is nothing to plan with.
    """

    better: str
    worse: str
    column: str
    planned: bool
    alpha: float
    design: Design | None = None
    components: Components | None = None
    visible: float | None = None
    effect: float | None = None
    needed: Mapping[str, int | None] | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        components = None if self.components is None else self.components.to_json()
        return {**asdict(self), "components": components}


def planned_power(
    data: TableData,
    claims: Sequence[ClaimSpec],
    designs: Mapping[str, Design],
    *,
    effect: float | None = None,
) -> Iterator[PlannedPower]:
    """Yield what a planned run sees of each claim.

    Args:
        data: a measured table, with its per-image values.
        claims: of the planned table.
        designs: sizes of the planned run by column; a column without is not measured there.
        effect: size of the difference to plan for, in the column's unit; None takes the
            published one.
    """
    others = sum(not claim.planned for claim in claims)
    for claim in claims:
        found = PlannedPower(
            better=claim.better,
            worse=claim.worse,
            column=claim.column,
            planned=claim.planned,
            alpha=ALPHA if claim.planned else ALPHA / others,
        )
        design = designs.get(claim.column)
        components = _components(data, claim)
        size = _published(data, claim) if effect is None else effect
        if isinstance(components, str) or design is None:
            reason = components if isinstance(components, str) else "not in the planned run"
            yield _with(found, design=design, effect=size, reason=reason)
            continue
        yield _with(
            found,
            design=design,
            components=components,
            visible=visible(components, design, alpha=found.alpha),
            effect=size,
            needed=needed(components, size, design, alpha=found.alpha) if size else None,
        )


def seeds_of(data: TableData) -> int:
    """Return the most training seeds that a claim or difference of a table could rest on."""
    found: dict[tuple[str, str], int] = {}
    for cell in data.cells:
        if cell.training_seed is not None and cell.state == "measured":
            found[cell.row, cell.column] = found.get((cell.row, cell.column), 0) + 1
    return max(found.values(), default=0)


def _with(found: PlannedPower, **changes: Any) -> PlannedPower:
    return PlannedPower(**{**vars(found), **changes})


def _components(data: TableData, claim: ClaimSpec) -> Components | str:
    sides = compared_cells(data, claim.better, claim.worse, claim.column)
    for row, cells in zip((claim.better, claim.worse), sides, strict=True):
        if not cells or any(cell.state != "measured" for cell in cells):
            return f"{row} has no {claim.column}"
    if all(cell.training_seed is None for side in sides for cell in side):
        return "neither row was trained"
    try:
        pairs = matched(*sides, other_noise=other_noise(data, claim.better, claim.worse))
        return _of_pairs(pairs)
    except (BenchError, ValueError) as error:
        return str(error).partition(". ")[0]


def _of_pairs(pairs: Sequence[tuple[CellData, CellData]]) -> Components:
    if all(cell.values for pair in pairs for cell in pair):
        first = pairs[0][0].values
        images = [
            {i: {v.key: v.value for v in pair[side].values} for i, pair in enumerate(pairs)}
            for side in (0, 1)
        ]
        return components_of_means(
            images[0], images[1], {v.key: v.prompt_id for v in first}, {v.key: v.tag for v in first}
        )
    estimates = [
        {i: e for i, pair in enumerate(pairs) if (e := pair[side].estimate) is not None}
        for side in (0, 1)
    ]
    return components_of_metrics(estimates[0], estimates[1])


def _published(data: TableData, claim: ClaimSpec) -> float | None:
    sides = [data.published.get(row, {}).get(claim.column) for row in (claim.better, claim.worse)]
    if sides[0] is None or sides[1] is None:
        return None
    return float(sides[0]["value"]) - float(sides[1]["value"])
