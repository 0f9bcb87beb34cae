"""Tables whose samples are points on a plane: how their file is read and described. No torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.config import mapping, override, read
from bench.spec.head import ProfileHead
from bench.spec.methods import method_class
from bench.spec.table import WHOLE_RUNS, ColumnSpec, RowSpec, TableSpec
from bench.spec.world import World
from bench.toy.settings import ToySettings
from bench.toy.spec import REFERENCES, PointColumn, PointProfile, PointRow, points_of


class Points(World):
    """Points of classes on a ring, DDSPO's Fig. 2."""

    row = PointRow
    column = PointColumn
    meaningless = frozenset(
        (
            *("--limit", "--protocol", "--controls", "--scales", "--profile", "--row"),
            *("--device", "--ranks"),
        )
    )
    reason = (
        "the 2D toy has one form and runs on the CPU. Its settings are changed with --set, e.g. "
        "--set finetune.steps=180."
    )
    maker = "bench.toy.cells:PointCells"
    drawer = "bench.toy.figure:draw_figures"

    def profile(
        self,
        table: TableSpec,
        name: str,
        *,
        overrides: Sequence[str],
        protocol: str | None,
        trust: bool,
    ) -> PointProfile:
        """Return the settings that the table's file has, with the changes of `--set`.

        Raises:
            UsageError: a key is unknown, a value is out of range, or a tuned row has no settings.
        """
        data = copy.deepcopy(dict(table.settings))
        for assignment in overrides:
            override(data, assignment)
        where = f"table {table.name}: settings"
        tuned = {str(row.method) for row in points_of(table.rows) if row.tuned}
        for method in mapping(data.get("tuned", {}), f"{where}.tuned"):
            if method not in tuned:
                raise unknown("method of the tuned rows", method, sorted(tuned))
        settings = read(ToySettings, data, where)
        for method in sorted(tuned - set(settings.tuned)):
            raise UsageError(f"{where}.tuned lacks {method}, which has tuned rows.")
        return PointProfile(settings=settings, overrides=tuple(overrides))

    def added(self, target: str, table: TableSpec) -> tuple[PointRow, ...]:
        """Return a method's rows: one for each reference and N of the table."""
        name = str(method_class(target).name)
        rows = points_of(table.rows)
        counts = sorted({row.pairs_per_class for row in rows if row.method is not None})
        return tuple(
            PointRow(
                key=f"{prefix}{name}-n{count}",
                label=f"{prefix.replace('-', ': ')}{name}, N = {count}",
                method=target,
                reference=reference,
                pairs_per_class=count,
                added=True,
            )
            for reference, prefix in REFERENCES.items()
            if any(row.reference == reference for row in rows)
            for count in counts
        )

    def row_json(self, row: RowSpec, profile: ProfileHead) -> dict[str, Any]:
        """Return what a table says of a row."""
        assert isinstance(row, PointRow) and isinstance(profile, PointProfile)
        settings, lr = profile.of_row(row)
        chosen = f"beta {settings['beta_half_mean']:g} and lr {lr:g}, " if row.tuned else ""
        return {
            "key": row.key,
            "label": row.label,
            "checkpoint": None,
            "method": row.method and row.method.rpartition("/")[2],
            "settings": settings,
            "lr": lr,
            "control": False,
            "note": f"{chosen}{row.note}",
        }

    def column_json(self, column: ColumnSpec) -> dict[str, Any]:
        """Return what a table says of a column: each seed draws everything anew."""
        return {
            "key": column.key,
            "metric": column.metric,
            "higher_is_better": column.higher_is_better,
            "decimals": column.decimals,
            "label": column.label,
            "evaluator": column.evaluator,
            "per_image": None,
            "units": WHOLE_RUNS,
            "range": [None, None],
        }
