"""Two tables put side by side: for every row and column of both, second less first.

Paired as the rows of one table are (`bench.report.paired`), with the same error term. What cannot
be compared is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.api.errors import ProtocolError
from bench.report.model import CellData, Summary, TableData
from bench.report.paired import paired_cells
from bench.report.pairing import common_cells, other_noise, same_checkpoint
from bench.report.words import protocol_id
from bench.stats.claims import MIN_TRAINING_SEEDS

_ALONE = "only in the "
_NOWHERE = "measured in neither table: "
_MEANING = ("evaluator", "metric", "per_image", "against", "over", "higher_is_better", "units")
"""What of a column says what its number is."""
DIFFERS: Literal["differs for these checkpoints"] = "differs for these checkpoints"
Word = Literal[
    "better", "worse", "differs for these checkpoints", "within noise", "equal", "not compared"
]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of one row's value of one column.

    Attributes:
        row, column: keys.
        first, second: the values, means over the cells that are compared.
        difference: second less first, with its error term.
        seeds: paired training seeds; 0 where neither side was trained.
        same_checkpoint: provenance shows that both sides sampled the same checkpoints.
        p, corrected_p: of the test; None where there is none.
        word: better, worse (in the direction of the column), differs for these checkpoints (fewer
            than three training seeds), within noise, equal, not compared.
        lower: whether the second is less good than the first; None where it was not tested.
        reason: why it was not compared.
    """

    row: str
    column: str
    first: float | None = None
    second: float | None = None
    difference: Summary | None = None
    seeds: int = 0
    same_checkpoint: bool = False
    p: float | None = None
    corrected_p: float | None = None
    word: Word = "not compared"
    lower: bool | None = None
    reason: str = ""

    @property
    def is_alone(self) -> bool:
        """Whether only one of the tables has this row and column."""
        return self.reason.startswith(_ALONE)

    @property
    def is_worse(self) -> bool:
        """Whether it is worse, of a checkpoint or with training seeds enough to say so."""
        differs = self.word == DIFFERS and self.same_checkpoint and bool(self.lower)
        return self.word == "worse" or differs

    @property
    def is_undecided(self) -> bool:
        """Whether nobody can say if it is worse: few training seeds and unlike checkpoints, or
        a table measured it, both have it, and it was not compared.
        """
        if self.word == "not compared":
            return not self.is_alone and not self.reason.startswith(_NOWHERE)
        return self.p is not None and self.seeds < MIN_TRAINING_SEEDS and not self.same_checkpoint

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        found = None if self.difference is None else self.difference.to_json()
        return {**vars(self), "difference": found}


def paired_tables(first: TableData, second: TableData, against: str | None) -> Iterator[Moved]:
    """Yield what is compared, not judged yet, in the order of the second table.

    Args:
        first, second: before and after.
        against: the row of `first` that every row of `second` is compared with; None: its own.
    """
    theirs = {str(row["key"]) for row in first.shown}
    columns = {str(c["key"]): c for c in (*first.columns, *second.columns)}
    sides = [{str(c["key"]) for c in data.columns} for data in (first, second)]
    rows = [str(row["key"]) for row in second.shown]
    lost = [] if against is not None else [str(r["key"]) for r in first.shown]
    for row in [*rows, *(key for key in lost if key not in rows)]:
        other = against or row
        for key, column in columns.items():
            there = other in theirs and key in sides[0], row in rows and key in sides[1]
            if all(there):
                unlike = _unlike_columns(first.column(key), second.column(key))
                bare = Moved(row=row, column=key, reason=unlike)
                yield bare if unlike else _moved(row, column, first, second, other)
            elif any(there):
                side = "first" if there[0] else "second"
                yield Moved(row=row, column=key, reason=f"{_ALONE}{side} table")


def _unlike_columns(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return in what two columns of one key differ that no protocol says, or nothing."""
    unlike = [name for name in _MEANING if a.get(name) != b.get(name)]
    return f"unlike columns: {', '.join(unlike)}" if unlike else ""


def _unlike_sampling(row: str, first: TableData, second: TableData) -> str:
    """Return in what a row is sampled otherwise in two tables, which no protocol says: it is the
    columns'.
    """
    a, b = (
        next((r.get("sampling") or {} for r in data.rows if r["key"] == row), {})
        for data in (first, second)
    )
    unlike = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    return f"the row is sampled otherwise: {', '.join(unlike)}" if unlike else ""


def _moved(
    row: str, column: Mapping[str, Any], first: TableData, second: TableData, other: str
) -> Moved:
    key = str(column["key"])
    unlike = _unlike_sampling(row, first, second) if other == row else ""
    if unlike:
        return Moved(row=row, column=key, reason=unlike)
    noise = other_noise(first, other) or other_noise(second, row)
    before, after = common_cells(first.of(other, key), second.of(row, key), other_noise=noise)
    bare = Moved(row=row, column=key)
    every = [*before, *after]
    if before and after and all(cell.state == "n/a" for cell in every):
        return replace(bare, reason=f"{_NOWHERE}{every[0].reason}")
    for side, cells in (("first", before), ("second", after)):
        bad = next((c for c in cells if c.state != "measured"), None)
        if bad is not None or not cells:
            why = bad.reason if bad else "no training seed and noise that both tables have"
            return replace(bare, reason=f"{side} table: {why}")
    unlike = _unlike(before[0], after[0])
    if unlike:
        return replace(bare, reason=unlike)
    try:
        difference = paired_cells(row, column, after, before, other_noise=noise)
    except ProtocolError as error:
        return replace(bare, reason=str(error).partition(". ")[0])
    estimate = difference.estimate
    trained = any(c.training_seed is not None for c in [*before, *after])
    moved = replace(
        bare,
        first=_mean(before),
        second=_mean(after),
        difference=difference,
        seeds=estimate.n_seeds if estimate and trained else 0,
        same_checkpoint=same_checkpoint(before, after),
    )
    if _equal(before, after):
        return replace(moved, word="equal")
    if estimate is None or estimate.p is None:
        return replace(moved, reason="no interval to judge it by")
    return replace(moved, p=estimate.p)


def _unlike(a: CellData, b: CellData) -> str:
    """Return in what two cells' protocols differ, or nothing."""
    if protocol_id(a.protocol) == protocol_id(b.protocol):
        return ""
    limits = [c.protocol.get("limit") for c in (a, b)]
    if limits[0] != limits[1]:
        said = [
            "all prompts" if limit is None else f"about {limit} a suite (--limit {limit})"
            for limit in limits
        ]
        return (
            f"unlike prompts: the first table has {said[0]}, the second {said[1]}; run both with "
            "the same --limit, or without"
        )
    names = {*a.protocol, *b.protocol}
    unlike = sorted(n for n in names if a.protocol.get(n) != b.protocol.get(n))
    return f"unlike protocols: {', '.join(unlike)}"


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
