"""What a table's columns could have seen: the smallest true difference found in 80 of 100 runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.report import words
from bench.report.model import TableData
from bench.report.statistics import Statistics
from bench.stats.claims import ALPHA, MIN_TRAINING_SEEDS, POWER


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Smallest effect a column could have seen, two-sided at .05, not corrected.

    Attributes:
        column: its key.
        least, most: over the differences of trained rows from the baseline, in the column's unit.
        n_seeds: fewest paired training seeds; with fewer than 3 it holds for these checkpoints.
    """

    column: str
    least: float
    most: float
    n_seeds: int


def reach_of(data: TableData, statistics: Statistics) -> Iterator[Reach]:
    """Yield what each column could have seen, those where it is known.

    Looked at are the differences of trained rows from the baseline, controls left out; in a
    table without a baseline, those of the claims.
    """
    trained = {cell.row for cell in data.cells if cell.training_seed is not None}
    trained = trained & {row["key"] for row in data.shown if not row["control"]} or trained
    for column in data.columns:
        key = column["key"]
        found = [d.estimate for d in statistics.differences if d.column == key and d.row in trained]
        if statistics.baseline is None:
            judged = zip(data.claims, statistics.verdicts, strict=True)
            found = [verdict.effect for claim, verdict in judged if claim["column"] == key]
        seen = [(e.detectable(alpha=ALPHA, power=POWER), e.n_seeds) for e in found if e is not None]
        known = [(size, seeds) for size, seeds in seen if size is not None]
        if known:
            sizes = [size for size, _ in known]
            yield Reach(
                column=key,
                least=min(sizes),
                most=max(sizes),
                n_seeds=min(seeds for _, seeds in known),
            )


def reach_line(data: TableData, statistics: Statistics) -> str:
    """Return one sentence for all columns, or nothing where none is known."""
    found = list(reach_of(data, statistics))
    if not found:
        return ""
    named = [f"{words.column_name(data, r.column)} ≥ {_sizes(data, r)}" for r in found]
    few = min(r.n_seeds for r in found)
    said = "a difference from the baseline" if statistics.baseline else "a claimed difference"
    power = f"{100 * POWER:g} % power, {said}, two-sided {ALPHA:g}"
    line = f"Could have seen ({power}): {', '.join(named)}"
    if few < MIN_TRAINING_SEEDS:
        seeds = f"{few} training seed" + "s" * (few != 1)
        return f"{line}; with {seeds} that holds for these checkpoints alone."
    return f"{line}."


def _sizes(data: TableData, reach: Reach) -> str:
    decimals = words.decimals_of(data, reach.column)
    least, most = (words.number(x, decimals) for x in (reach.least, reach.most))
    return least if least == most else f"{least} to {most}"
