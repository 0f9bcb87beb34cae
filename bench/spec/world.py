"""What a table's samples are: images of prompts, or what a world of its own makes. No torch.

A table's file may name a world of `bench.spec.table.WORLDS`. The world says how rows, columns and
settings of that file are read and what a report says of them; where its samples are made it names,
so that reading a table imports none of that. All else of a table is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from bench.api.errors import UsageError
from bench.api.loading import import_target
from bench.api.registry import EVALUATORS
from bench.spec.added import method_row
from bench.spec.head import ProfileHead
from bench.spec.profile import load_profile
from bench.spec.table import OVER, WIN_RATE, WORLDS, ColumnSpec, RowSpec, TableSpec


class World:
    """The world of images, which a table is of that names no other.

    Attributes:
        row, column: what the entries of the file are read as.
        meaningless: options of the command line that nothing here could read.
        reason: why not.
        maker: `"module:Class"` of the `bench.steps.cells.CellMaker` of its own; `""` for images.
        drawer: `"module:function"` that returns its pictures (PNG files by name) of a request, its
            `TableGraph` and the store; `""` for sheets of samples.
    """

    row: ClassVar[type[RowSpec]] = RowSpec
    column: ClassVar[type[ColumnSpec]] = ColumnSpec
    meaningless: ClassVar[frozenset[str]] = frozenset()
    reason: ClassVar[str] = ""
    maker: ClassVar[str] = ""
    drawer: ClassVar[str] = ""

    def refuse(self, table: TableSpec, options: Mapping[str, bool]) -> None:
        """Raise UsageError for the first option that is given and means nothing."""
        for option, given in options.items():
            if given and option in self.meaningless:
                raise UsageError(f"{option} means nothing for table {table.name}: {self.reason}")

    def profile(
        self,
        table: TableSpec,
        name: str,
        *,
        overrides: Sequence[str],
        protocol: str | None,
        trust: bool,
    ) -> ProfileHead:
        """Return the settings of the table.

        Args:
            table: whose.
            name: of the profile asked for, or the path of a file.
            overrides: `"key.key=value"`.
            protocol: in place of the profile's own.
            trust: whether the user's file may name code that nobody registered.

        Raises:
            UsageError: something is unknown or wrong (the key is named).
        """
        return load_profile(name, table=table, overrides=overrides, protocol=protocol, trust=trust)

    def added(self, target: str, table: TableSpec) -> tuple[RowSpec, ...]:
        """Return the rows of a method that the table's file has not.

        Args:
            target: registry name, `pkg.mod:Class` or `file.py:Class`.
            table: with the rows there are.

        Raises:
            UsageError, ContractError: as `bench.spec.methods.method_class`.
        """
        return (method_row(target),)

    def row_json(self, row: RowSpec, profile: ProfileHead) -> dict[str, Any]:
        """Return what a table says of a row."""
        entry = {**asdict(row), "method": row.method and Path(row.method).name}
        for name in _OPTIONAL:
            if not entry[name]:  # as in tables that were stored before rows had them
                del entry[name]
        return {**entry, "control": row.control or False}

    def column_json(self, column: ColumnSpec) -> dict[str, Any]:
        """Return what a table says of a column."""
        entry = {**asdict(column), "range": _range(column)}
        if column.against is None:
            del entry["against"]  # as in tables that were stored before there were win rates
        if column.over == OVER[0]:
            del entry["over"]
        return entry


_OPTIONAL = (
    "rewards", "settings", "changes", "columns", "concerns", "base", "scale_of", "seeds",
)  # fmt: skip

IMAGES = World()


def world_of(table: TableSpec) -> World:
    """Return the world that a table is of."""
    if table.world is None:
        return IMAGES
    cls: type[World] = import_target(WORLDS[table.world], kind="world")  # type: ignore[assignment]
    return cls()


def _range(column: ColumnSpec) -> list[float | None]:
    if column.metric == WIN_RATE:
        return [0.0, 1.0]
    metrics = EVALUATORS.load(column.evaluator).spec.metrics
    return list(next(m.range for m in metrics if m.name == column.metric))
