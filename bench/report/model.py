"""What a report is made from: the cells of a table as measured, and what the paper printed.

`TableData` is all a renderer sees. It is gathered from a store (`bench.report.collect`) or read
back from the files of a published table (`bench.report.stored`); both give the same output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.api.estimate import Estimate
from bench.stats import CrossedEstimate

if TYPE_CHECKING:
    from bench.steps.cells import Cell

State = Literal["measured", "failed", "n/a"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageValue:
    """The per-image value behind a metric that is a mean over tasks of the mean over images."""

    prompt_id: str
    ordinal: int
    tag: str
    value: float

    @property
    def key(self) -> str:
        """`<prompt id>/<ordinal>`."""
        return f"{self.prompt_id}/{self.ordinal}"


@dataclass(frozen=True, kw_only=True)
class CellData:
    """One value: (row, column, training seed, noise seed).

    Attributes:
        row, column: keys.
        training_seed: None for a row without training.
        noise_seed: that its images were sampled from; None where that is not known. Two cells of
            one noise seed have images of equal noise, prompt by prompt.
        state: whether it is there.
        reason: why not.
        estimate: the column's metric.
        parts: the evaluator's other metrics.
        protocol: how it was measured.
        provenance: role -> artifact id along the chain, and the commit that scored it.
        values: per image; empty for metrics of a whole set.
    """

    row: str
    column: str
    training_seed: int | None
    noise_seed: int | None
    state: State
    reason: str = ""
    estimate: Estimate | None = None
    parts: Mapping[str, Estimate] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    values: Sequence[ImageValue] = ()


PLACE = ("row", "column", "training_seed", "noise_seed")
"""What names a cell of a table, in the order of the records' columns."""


def place_of(cell: Cell | CellData) -> tuple[str, str, int | None, int | None]:
    """Return what names a cell, by `PLACE`."""
    return cell.row, cell.column, cell.training_seed, cell.noise_seed


def scores_of(cell: CellData) -> str | None:
    """Return the id of the scores that a cell says it was taken from, None where it says none."""
    named: object = cell.provenance.get("artifacts", {}).get("scores")
    return None if named is None else str(named)


@dataclass(frozen=True, kw_only=True)
class TableData:
    """A measured table.

    Attributes:
        table: name.
        title, source: of the paper's table.
        profile: name and title of the profile, how noise goes with training seeds (see
            `bench.spec.noise`), and what `--set` changed in it.
        orientation: published numbers are of another world, shown for orientation.
        limit: prompts per suite; None for the whole table.
        seeds: training seeds.
        rows, columns, claims, footnotes, published: as in `bench.spec.table`, as plain data.
        facts: published statements that no cell carries, likewise.
        cells: in table order.
        command: arguments of `bench` that make the table.
        verified: by back-end, how far it was checked against the original implementation.
        unrun: controls of the table that are tested and were not asked for, as rows; `found` says
            by column what the published table of the same protocol has of them.
        scales: by row, the guidance scale at which it is best, where planned claims are shown
            there; their rows name in `scale_of` the row they stand for.
        leaderboard: the column by which rows are ranked against the base; None for no ranking.
        curve: guidance scales at which each row was sampled, where the table shows them; the rows
            at other scales than the protocol's name in `scale_of` the row they are.
    """

    table: str
    title: str
    source: str
    profile: Mapping[str, Any]
    orientation: bool
    limit: int | None
    seeds: tuple[int, ...]
    rows: tuple[Mapping[str, Any], ...]
    columns: tuple[Mapping[str, Any], ...]
    claims: tuple[Mapping[str, Any], ...]
    footnotes: Mapping[str, str]
    published: Mapping[str, Mapping[str, Mapping[str, Any]]]
    cells: tuple[CellData, ...]
    command: tuple[str, ...] = ()
    verified: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[Mapping[str, Any], ...] = ()
    unrun: tuple[Mapping[str, Any], ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)
    leaderboard: str | None = None
    curve: tuple[float, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether the suites were cut."""
        return self.limit is not None

    @property
    def shown(self) -> tuple[Mapping[str, Any], ...]:
        """The rows of the table itself: all but those at other scales."""
        return tuple(row for row in self.rows if row.get("scale_of") is None)

    def column(self, key: str) -> Mapping[str, Any]:
        """Return a column (KeyError when there is none)."""
        return {column["key"]: column for column in self.columns}[key]

    def of(self, row: str, column: str) -> list[CellData]:
        """Return a row's cells of a column, by training seed, then noise seed."""
        return [c for c in self.cells if c.row == row and c.column == column]


def estimate_to_json(estimate: Estimate | None) -> dict[str, Any] | None:
    """Return a JSON-able mapping, None for None."""
    return None if estimate is None else estimate.to_json()


def estimate_from_json(data: Mapping[str, Any] | None) -> Estimate | None:
    """Read what `estimate_to_json` wrote."""
    return None if data is None else Estimate.from_json(dict(data))


def cell_to_json(cell: CellData) -> dict[str, Any]:
    """Return a cell without its per-image values, which have a file of their own."""
    bare = replace(cell, values=(), estimate=None, parts={})
    data = {k: v for k, v in asdict(bare).items() if k != "values"}
    data["estimate"] = estimate_to_json(cell.estimate)
    data["parts"] = {name: estimate_to_json(e) for name, e in cell.parts.items()}
    return data


def cell_from_json(data: Mapping[str, Any], values: Sequence[ImageValue]) -> CellData:
    """Read what `cell_to_json` wrote."""
    parts = {name: estimate_from_json(e) for name, e in data["parts"].items()}
    return CellData(
        **{
            **data,
            "estimate": estimate_from_json(data["estimate"]),
            "parts": {name: e for name, e in parts.items() if e is not None},
            "values": tuple(values),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One row's value of one column, or the difference of two rows.

    Attributes:
        row, column: keys.
        state: `"measured"`, `"failed"`, `"n/a"`.
        reason: why it is not there.
        estimate: the value, with the error term of training seeds, prompts and image noise.
        images: of one cell.
        by_seed: value by training seed; of a row without training by `noise N`; empty for a
            difference.
    """

    row: str
    column: str
    state: str
    reason: str = ""
    estimate: CrossedEstimate | None = None
    images: int = 0
    by_seed: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {**asdict(self), "by_seed": dict(self.by_seed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """Read what `to_json` wrote."""
        found = data["estimate"]
        return cls(
            **{**data, "estimate": None if found is None else CrossedEstimate.from_json(found)}
        )
