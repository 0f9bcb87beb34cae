"""A table of a paper as data: rows, columns, published values, claims, footnotes, protocols.

One YAML file per table lies in `bench/tables`; a file of the user's own, or of an installed package
(entry point of group `bench.tables`, a path or a text), is as good. Nothing in it is measured here:
numbers under `published` keep their source and are never shown as ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError, did_you_mean, unknown
from bench.api.loading import import_target
from bench.config import construct, line_of, load_yaml, mapping, place_of, sequence
from bench.config.trust import require_registered
from bench.read.names import one_line
from bench.spec.adaptation import Adaptation, read_adaptations
from bench.spec.claims import ClaimSpec, FactSpec, SpecError, read_claims, read_facts
from bench.spec.controls import base_row, check_controls, require_paired
from bench.spec.curve import curve_of
from bench.spec.inheritance import from_folder, lineage
from bench.spec.protocol import ColumnProtocol, read_protocol
from bench.spec.rows import PAIRINGS as PAIRINGS
from bench.spec.rows import RowSpec as RowSpec
from bench.spec.rows import read_rows
from bench.spec.table_files import table_file, table_name
from bench.spec.table_files import table_names as table_names

WIN_RATE = "win-rate"
"""A column's metric that compares the rows' per-image scores, and is no metric of an evaluator."""
OVER = ("tasks", "images")
MOST_DECIMALS = 12
WHOLE_RUNS = "seeds"
"""What a world says of a column's `units` where each seed draws everything anew: then seeds alone
are what varies."""
WORLDS: Mapping[str, str] = {"points": "bench.toy.world:Points"}
"""Worlds beside that of images, see `bench.spec.world`: name -> class."""


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """One column.

    Attributes:
        key: unique, what `--cols` takes and the table's head shows.
        label: the metric in words.
        evaluator: registry name or path.
        metric: one of the evaluator's metrics, or `WIN_RATE`.
        higher_is_better: direction; must agree with the evaluator's.
        decimals: digits after the point.
        per_image: the field of the evaluator's records whose mean over tasks of the mean over
            images is the metric, null where an image does not count; None for metrics of a whole
            set (FID, IS). Of a win rate: the score that is compared.
        against: of a win rate, the key of the row that the others are compared with.
        over: `"tasks"`, or `"images"`: the metric is the mean over all images, whatever their task.
    """

    key: str
    label: str
    evaluator: str
    metric: str
    higher_is_better: bool
    decimals: int
    per_image: str | None = None
    against: str | None = None
    over: str = OVER[0]

    @property
    def shows_parts(self) -> bool:
        """Whether the other metrics of its scores are shown as parts of the column's."""
        return True

    def __post_init__(self) -> None:
        one_line(str(self.key), "the column key")
        one_line(str(self.label), "the column label")
        where = f"column {self.key!r}"
        if not 0 <= self.decimals <= MOST_DECIMALS:
            raise UsageError(
                f"{where}: decimals is {self.decimals}; expected 0 to {MOST_DECIMALS}."
            )
        if self.over not in OVER:
            raise UsageError(f"{where}: unknown over {self.over!r}.{did_you_mean(self.over, OVER)}")
        if (self.metric == WIN_RATE) != (self.against is not None):
            raise UsageError(
                f"{where} has metric {self.metric!r} and against {self.against!r}: a {WIN_RATE} "
                "names the row it is against, and nothing else does."
            )
        if self.metric == WIN_RATE and (self.per_image is None or not self.higher_is_better):
            raise UsageError(
                f"{where} is a {WIN_RATE}: it needs per_image, the score that is compared, and "
                "higher_is_better: true, whatever the score's own direction."
            )


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """A number somebody published.

    Attributes:
        value: as printed.
        source: where.
        quoted: the paper quotes it from elsewhere and did not measure it.
        footnote: key of a footnote.
    """

    value: float
    source: str
    quoted: bool = False
    footnote: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise UsageError(f"the published value is {self.value!r}; expected a number.")


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A whole table; see the classes above.

    Attributes:
        name: file name without ending.
        protocol: in place of the profile's, unless another one is asked for.
        published: by row, then column.
        claims: those of the file, "the best" spelled out; the planned ones first.
        facts: published statements that no cell carries.
        protocols: by protocol name, then column.
        profiles: by profile name, what the table changes in it.
        file: where it was read.
        world: what its samples are, a key of `WORLDS`; None for images of prompts.
        settings: of the world, in place of a profile.
        seeds: training seeds unless others are asked for; empty for 0.
        leaderboard: the column by which rows are ranked against the base: that each is better
            there is claimed of every row, one added by the command line too.
        scales: by row key, the guidance scale at which the metric of the planned claims is best;
            see `bench.spec.scales`.
        curve: guidance scales, ascending, at which every row that is sampled is measured.
    """

    name: str
    title: str
    source: str
    rows: tuple[RowSpec, ...]
    columns: tuple[ColumnSpec, ...]
    protocol: str | None = None
    published: Mapping[str, Mapping[str, PublishedValue]] = field(default_factory=dict)
    footnotes: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[ClaimSpec, ...] = ()
    facts: tuple[FactSpec, ...] = ()
    protocols: Mapping[str, Mapping[str, ColumnProtocol]] = field(default_factory=dict)
    profiles: Mapping[str, Adaptation] = field(default_factory=dict)
    file: Path | None = None
    world: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    scales: Mapping[str, float] = field(default_factory=dict)
    leaderboard: str | None = None
    curve: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        one_line(self.title, "the table's title")
        one_line(self.source, "the table's source")
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "curve", curve_of(self.curve, f"table {self.name}", self.world))
        if self.settings and self.world is None:
            raise UsageError(f"table {self.name} has settings and names no world that reads them.")
        for what, keys in (("row", [r.key for r in self.rows]), ("column", self._columns)):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            if twice:
                raise UsageError(f"table {self.name}: two {what}s are named {twice[0]!r}.")
            if not keys:
                raise UsageError(f"table {self.name} has no {what}.")
        labels = [row.label for row in self.rows]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise UsageError(
                f"table {self.name}: two rows have the label {twice[0]!r}; rename one."
            )
        for row, cells in self.published.items():
            self.row(row)
            for column, value in cells.items():
                self.column(column)
                if value.footnote is not None and value.footnote not in self.footnotes:
                    raise unknown("footnote", value.footnote, self.footnotes)
        for claim in self.claims:
            self._require(claim.better, claim.worse, column=claim.column)
        for fact in self.facts:
            if fact.ratio is not None:
                self._require(*fact.ratio.rows, column=fact.ratio.column)
        for columns in self.protocols.values():
            for column in columns:
                self.column(column)
        for adaptation in self.profiles.values():
            for column in adaptation.columns:
                self.column(column)
            for row in adaptation.scales:
                self.row(row)
        if self.leaderboard is not None:
            self.column(self.leaderboard)
            if base_row(self.rows) is None:
                raise UsageError(f"table {self.name} is a leaderboard and has no base to rank by.")
        for spec in self.columns:
            if spec.against is not None:
                self.row(spec.against)

    @property
    def all_claims(self) -> tuple[ClaimSpec, ...]:
        """The claims of the file, then those of the leaderboard: of rows of the base's noise."""
        base = base_row(self.rows)
        if self.leaderboard is None or base is None:
            return self.claims
        stated = {claim.pair for claim in self.claims}
        ranked = [
            ClaimSpec(better=row.key, worse=base.key, column=self.leaderboard)
            for row in self.rows
            if row is not base and not (row.control or row.scale_of)
            if row.sampling_seed == base.sampling_seed
        ]
        return (*self.claims, *(claim for claim in ranked if claim.pair not in stated))

    def with_statements(self, claims: Any, facts: Any) -> TableSpec:
        """Return the table with the claims and facts of a file.

        Raises:
            SpecError: an entry is wrong, or names a row or a column that the table has not.
        """
        where = f"table {self.name}"
        found = read_claims(claims, where, self.published, self._require)
        told = read_facts(facts, where, self._require)
        return replace(self, claims=found, facts=told)

    def _require(self, *rows: str, column: str) -> None:
        """Raise UsageError unless the table can compare these rows in this column."""
        require_paired({row: self.row(row) for row in rows})
        self.column(column)

    @cached_property
    def _columns(self) -> list[str]:
        return [c.key for c in self.columns]

    def in_profile(self, profile: str) -> TableSpec:
        """Return the table as it is in a profile, given by name or path, or in one it extends.

        Raises:
            UsageError: a profile of the chain is unknown, or its file is wrong.
        """
        table = self
        for name in lineage(profile) if self.profiles else ():
            adaptation = self.profiles.get(name, Adaptation())
            if changes := adaptation.columns:
                columns = (replace(c, **changes.get(c.key, {})) for c in table.columns)
                table = replace(table, columns=tuple(columns))
            if adaptation.scales:
                table = replace(table, scales={**table.scales, **adaptation.scales})
        return table

    def place(self, column: str, key: str) -> str:
        """Return `file:line: ` of a column's key, nothing where the table is of no file."""
        return self._place("columns", self._columns.index(column), key)

    def row_place(self, row: str) -> str:
        """Return `file:line: ` of a row, likewise; nothing for one that no file has."""
        number = [r.key for r in self.rows].index(row)
        return "" if self.rows[number].added else self._place("rows", number)

    def published_place(self, row: str, column: str) -> str:
        """Return `file:line: ` of a published number, likewise."""
        return self._place("published", row, column)

    def claim_place(self, claim: ClaimSpec) -> str:
        """Return `file:line: ` of the entry that a claim was made of, likewise."""
        entries = load_yaml(self.file).get("claims", []) if self.file is not None else []
        for number, entry in enumerate(entries):
            columns = (entry.get("column"), *entry.get("columns", ()))
            rows = entry.get("better", entry.get("best")), entry.get("worse", claim.worse)
            if rows == (claim.better, claim.worse) and claim.column in columns:
                return self._place("claims", number)
        return ""

    def _place(self, *steps: str | int) -> str:
        return "" if self.file is None else f"{self.file}:{line_of(self.file, steps)}: "

    def row(self, key: str) -> RowSpec:
        """Return a row (UsageError naming the nearest when it is unknown)."""
        found = {row.key: row for row in self.rows}
        if key not in found:
            raise unknown(f"row of table {self.name}", key, found)
        return found[key]

    def column(self, key: str) -> ColumnSpec:
        """Return a column (UsageError naming the nearest when it is unknown)."""
        found = {column.key: column for column in self.columns}
        if key not in found:
            raise unknown(f"column of table {self.name}", key, found)
        return found[key]


def load_table(name: str, *, trust: bool = False) -> TableSpec:
    """Read a table.

    Args:
        name: what `bench list tables` shows, or the path of a YAML file.
        trust: whether a file of the user's own may name code that nobody registered.

    Raises:
        UsageError: it is unknown, or its file is wrong (the key is named, and the file; for claims
            and facts also the line).
        ContractError: it is an installed package's, which fails.
    """
    if ":" in name:
        raise unknown("table", name, table_names())
    one_line(name, "the table")
    file, own = table_file(name)
    data = load_yaml(file)
    if own:
        if not trust:
            require_registered(data, file)
        data = from_folder(data, file.resolve().parent)
    title = table_name(name)
    try:
        found = read_table(title, data, file=file)
        if title == file.name:  # called like a shipped one
            found = replace(found, title=f"{found.title} ({title}, a file of the user's own)")
        return found
    except SpecError as error:
        raise UsageError(f"{file}:{line_of(file, error.place)}: {error}") from None
    except UsageError as error:
        if str(file) in str(error):
            raise
        raise UsageError(f"{file}: {error}") from None


def _classes(world: object) -> tuple[type[RowSpec], type[ColumnSpec]]:
    """Return what rows and columns are read as in a world."""
    if world is None:
        return RowSpec, ColumnSpec
    if world not in WORLDS:
        raise unknown("world", str(world), WORLDS)
    found: Any = import_target(WORLDS[str(world)], kind="world")
    return found.row, found.column


def read_table(name: str, data: Mapping[str, Any], *, file: Path | None = None) -> TableSpec:
    """Make a TableSpec of what a YAML file holds (UsageError naming the key otherwise)."""
    where = f"table {name}"
    row_class, column_class = _classes(data.get("world"))
    rows = read_rows(row_class, data.get("rows"), where)
    columns = [
        construct(column_class, column, f"{where}, column {i + 1}{place_of(column)}")
        for i, column in enumerate(sequence(data.get("columns"), f"{where}: columns"))
    ]
    published = {
        row: {
            column: construct(PublishedValue, value, f"{where}: published.{row}.{column}")
            for column, value in mapping(cells, f"{where}: published.{row}").items()
        }
        for row, cells in mapping(data.get("published", {}), f"{where}: published").items()
    }
    protocols = {
        protocol: {
            column: read_protocol(entry, f"{where}: protocols.{protocol}.{column}")
            for column, entry in mapping(entries, f"{where}: protocols.{protocol}").items()
        }
        for protocol, entries in mapping(data.get("protocols", {}), f"{where}: protocols").items()
    }
    made = ("rows", "columns", "published", "claims", "facts", "protocols", "profiles")
    table: TableSpec = construct(
        TableSpec,
        {key: value for key, value in data.items() if key not in made},
        where,
        name=name,
        file=file,
        rows=rows,
        columns=tuple(columns),
        published=published,
        protocols=protocols,
        profiles=read_adaptations(data.get("profiles", {}), f"{where}: profiles"),
    )
    check_controls(where, table.rows, table.row, table.column)
    return table.with_statements(data.get("claims", []), data.get("facts", []))
