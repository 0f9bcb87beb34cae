"""Two measured tables side by side: which numbers moved by more than noise.

For every row and column that both have, second less first, paired image by image (or block by
block of prompts, for FID and the like) and, where both were trained on the same seeds, seed by
seed. A difference counts as more than noise where its p-value, Holm-corrected over all that is
compared, is below 0.05. The test is the paired t over training seeds where both sides have three
or more in common; otherwise it is that of the images, and says nothing of training again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.api.errors import ProtocolError, UsageError, unknown
from bench.api.estimate import Estimate
from bench.report.model import CellData, Summary, TableData
from bench.report.paired import paired_cells
from bench.report.words import protocol_id
from bench.stats import holm
from bench.stats.seeds import SeedEstimate
from bench.stats.student import two_sided_p

ALPHA = 0.05
SEEDS_NEEDED = 3
Word = Literal["better", "worse", "within noise", "equal", "not compared"]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of one row's value of one column.

    Attributes:
        row, column: keys.
        first, second: the values, means over the training seeds that both have.
        difference: second less first, with its intervals.
        basis: what the word rests on: `"training seeds"`, `"images"`, or nothing.
        p, corrected_p: of the test; None where there is none.
        word: better, worse (in the direction of the column), within noise, equal, not compared.
        reason: why it was not compared.
    """

    row: str
    column: str
    first: float | None = None
    second: float | None = None
    difference: Summary | None = None
    basis: str = ""
    p: float | None = None
    corrected_p: float | None = None
    word: Word = "not compared"
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        found = None if self.difference is None else self.difference.to_json()
        return {**vars(self), "difference": found}


def compare_tables(
    first: TableData, second: TableData, *, against: str | None = None
) -> tuple[Moved, ...]:
    """Compare two tables with their per-image values.

    Args:
        first, second: before and after.
        against: compare every row of `second` with this row of `first`, instead of with its own.

    Raises:
        UsageError: they share no row or column, or `against` is no row.
    """
    keys = [str(row["key"]) for row in first.rows]
    if against is not None and against not in keys:
        raise unknown("row", against, keys)
    known = {str(c["key"]): c for c in first.columns}
    pairs = [
        (str(row["key"]), against or str(row["key"]), column)
        for row in second.rows
        for column in second.columns
        if column["key"] in known
        and (against is not None or row["key"] in keys)
        # a row against itself says nothing
        and not (first.cells is second.cells and row["key"] == against)
    ]
    if not pairs:
        raise UsageError(
            f"tables {first.table} and {second.table} have no row and column in common; name the "
            "row to compare with by --against."
        )
    found = [
        _moved(row, column, first.of(other, column["key"]), second.of(row, column["key"]))
        for row, other, column in pairs
    ]
    higher = {str(c["key"]): bool(c["higher_is_better"]) for c in second.columns}
    corrected = holm([m.p for m in found if m.p is not None])
    rest = iter(corrected)
    return tuple(m if m.p is None else _judged(m, next(rest), higher[m.column]) for m in found)


def _judged(moved: Moved, corrected: float | None, higher_is_better: bool) -> Moved:
    word: Word = "within noise"
    if corrected is not None and corrected < ALPHA and moved.difference is not None:
        seeds, given = moved.difference.seeds, moved.difference.given
        effect = seeds.value if moved.basis == "training seeds" and seeds else _value(given)
        word = "better" if (effect > 0) == higher_is_better else "worse"
    return replace(moved, corrected_p=corrected, word=word)


def _value(estimate: Estimate | None) -> float:
    return 0.0 if estimate is None else estimate.value


def _moved(
    row: str, column: Mapping[str, Any], before: Sequence[CellData], after: Sequence[CellData]
) -> Moved:
    key = str(column["key"])
    before, after = _common_seeds(before, after)
    bare = Moved(row=row, column=key)
    for side, cells in (("first", before), ("second", after)):
        bad = next((c for c in cells if c.state != "measured"), None)
        if bad is not None or not cells:
            why = bad.reason if bad else "no training seed that both tables have"
            return replace(bare, reason=f"{side} table: {why}")
    unlike = _unlike(before[0], after[0])
    if unlike:
        return replace(bare, reason=f"unlike protocols: {', '.join(unlike)}")
    try:
        difference = paired_cells(row, key, after, before)
    except ProtocolError as error:
        return replace(bare, reason=str(error).partition(".")[0])
    moved = replace(bare, first=_mean(before), second=_mean(after), difference=difference)
    if _equal(before, after):
        return replace(moved, word="equal")
    basis, p = _test(difference)
    if p is None:
        return replace(moved, reason="no interval to judge it by")
    return replace(moved, basis=basis, p=p)


def _common_seeds(
    a: Sequence[CellData], b: Sequence[CellData]
) -> tuple[list[CellData], list[CellData]]:
    """Return the cells of the training seeds that both sides have; untrained rows have all."""
    seeds = [{c.training_seed for c in side} for side in (a, b)]
    if any(None in s or not s for s in seeds):
        return list(a), list(b)
    common = seeds[0] & seeds[1]
    kept = [[c for c in side if c.training_seed in common] for side in (a, b)]
    return kept[0], kept[1]


def _unlike(a: CellData, b: CellData) -> list[str]:
    """Return the parts of the protocol in which two cells differ."""
    if protocol_id(a.protocol) == protocol_id(b.protocol):
        return []
    names = {*a.protocol, *b.protocol}
    return sorted(n for n in names if a.protocol.get(n) != b.protocol.get(n))


def _mean(cells: Sequence[CellData]) -> float | None:
    values = [c.estimate.value for c in cells if c.estimate is not None]
    return sum(values) / len(values) if values else None


def _equal(a: Sequence[CellData], b: Sequence[CellData]) -> bool:
    """Whether both sides hold the same numbers, image by image where there are any."""
    if len(a) != len(b):
        return False
    return all(
        x.estimate == y.estimate and list(x.values) == list(y.values)
        for x, y in zip(a, b, strict=True)
    )


def _test(difference: Summary) -> tuple[str, float | None]:
    seeds, given = difference.seeds, difference.given
    if seeds is not None and seeds.n_seeds >= SEEDS_NEEDED:
        return "training seeds", _p(seeds, seeds.n_seeds - 1)
    if given is None or given.low is None:
        return "", None
    parts = len(given.block_sizes) or given.clusters or given.n
    return "images", _p(given, max(1, parts - 1))


def _p(found: SeedEstimate | Estimate, df: int) -> float | None:
    if not found.stderr:
        return None
    return two_sided_p(found.value / found.stderr, df)
