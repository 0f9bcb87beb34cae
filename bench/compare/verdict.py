"""Which numbers of two tables moved by more than noise, and what that says of the second.

A difference counts as more than noise where its p-value, Holm-corrected over all that is compared,
is below 0.05. Better and worse are words for rows with three paired training seeds or more: with
fewer, the error term knows nothing of training again, and the difference is one between these
checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.api.errors import UsageError, unknown
from bench.compare.pairing import DIFFERS, Moved, Word, paired_tables
from bench.report.model import TableData
from bench.stats import holm
from bench.stats.claims import MIN_TRAINING_SEEDS

ALPHA = 0.05


def compare_tables(
    first: TableData, second: TableData, *, against: str | None = None
) -> tuple[Moved, ...]:
    """Compare two tables with their per-image values.

    Args:
        first, second: before and after.
        against: compare every row of `second` with this row of `first`, instead of with its own.

    Returns:
        One per row and column that either table has, in the order of the second.

    Raises:
        UsageError: they share no row or column, or `against` is no row.
    """
    keys = [str(row["key"]) for row in first.shown]
    if against is not None and against not in keys:
        raise unknown("row", against, keys)
    found = [
        # a row against itself says nothing
        moved
        for moved in paired_tables(first, second, against)
        if not (first.cells is second.cells and moved.row == against)
    ]
    if all(m.is_alone for m in found):
        raise UsageError(
            f"tables {first.table} and {second.table} have no row and column in common; name the "
            "row to compare with by --against."
        )
    higher = {str(c["key"]): bool(c["higher_is_better"]) for c in (*first.columns, *second.columns)}
    rest = iter(holm([m.p for m in found if m.p is not None]))
    return tuple(m if m.p is None else _judged(m, next(rest), higher[m.column]) for m in found)


def _judged(moved: Moved, corrected: float | None, higher_is_better: bool) -> Moved:
    effect = moved.difference.estimate if moved.difference else None
    lower = None if effect is None else (effect.value > 0.0) != higher_is_better
    word: Word = "within noise"
    if corrected is not None and corrected < ALPHA:
        word = "worse" if lower else "better"
        if moved.seeds < MIN_TRAINING_SEEDS:
            word = DIFFERS
    return replace(moved, corrected_p=corrected, word=word, lower=lower)


@dataclass(frozen=True, kw_only=True)
class RunVerdict:
    """What two runs say of the second, as an exit code: 0 fine, 1 worse, 2 nobody can say."""

    exit_code: int
    why: str = ""


def run_verdict(found: Sequence[Moved], *, fail_if_worse: bool) -> RunVerdict:
    """Judge the second of two tables.

    Args:
        found: what was compared.
        fail_if_worse: whether anything worse counts, and anything that might be.
    """
    if all(moved.word == "not compared" for moved in found):
        return RunVerdict(exit_code=2, why="nothing could be compared")
    if not fail_if_worse:
        return RunVerdict(exit_code=0)
    if any(moved.is_worse for moved in found):
        return RunVerdict(exit_code=1)
    undecided = [moved for moved in found if moved.is_undecided]
    if not undecided:
        return RunVerdict(exit_code=0)
    few = _named(moved for moved in undecided if moved.p is not None)
    left = _named(moved for moved in undecided if moved.p is None)
    why = []
    if few:
        why.append(
            f"--fail-if-worse cannot say of {few}: fewer than three training seeds on a side, and "
            "no provenance that shows that both sampled the same checkpoint. Compare tables of "
            "three training seeds or more (--seeds 0,1,2)."
        )
    if left:
        why.append(
            f"--fail-if-worse cannot say of {left}: not compared, for the reasons above. Choose "
            "what can be compared by --rows and --cols."
        )
    return RunVerdict(exit_code=2, why=" ".join(why))


def _named(found: Iterable[Moved]) -> str:
    return ", ".join(f"{moved.row}/{moved.column}" for moved in found)
