"""What is asked for: rows, columns, seeds and sizes of one table in one profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_PROFILE
from bench.spec.added import weights_row
from bench.spec.head import ProfileHead
from bench.spec.overrides import asked_of
from bench.spec.profile import Profile
from bench.spec.scales import curve_rows, scale_rows
from bench.spec.table import ColumnSpec, RowSpec, TableSpec, load_table
from bench.spec.world import world_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request.

    Attributes:
        table: all the rows there are, those of `methods` included.
        profile: see `bench.spec.profile`; of a table without images what its world reads.
        rows, columns: those asked for, in the table's order.
        seeds: training seeds, ascending.
        limit: prompts per evaluation suite, or None for all.
        profile_name: as it was asked for.
        protocol: asked for in place of the profile's own, or None.
        table_name: as it was asked for; a file without its folders.
        trust: whether the user trusts the code that the files name.
    """

    table: TableSpec
    profile: ProfileHead
    rows: tuple[RowSpec, ...]
    columns: tuple[ColumnSpec, ...]
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    profile_name: str = DEFAULT_PROFILE
    protocol: str | None = None
    table_name: str = ""
    trust: bool = False

    @property
    def images(self) -> Profile:
        """The profile of a table of images.

        Raises:
            UsageError: its samples are something else.
        """
        if not isinstance(self.profile, Profile):
            raise UsageError(f"table {self.table.name} has no images: it is of {self.table.world}.")
        return self.profile

    @property
    def partial(self) -> bool:
        """Whether the suites are cut, so that the numbers are not the table's."""
        return self.limit is not None


def make_request(
    table: str,
    profile: str = DEFAULT_PROFILE,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    controls: bool = False,
    scales: bool = False,
    seeds: Sequence[int] | None = None,
    limit: int | None = None,
    methods: Sequence[str] = (),
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    weights: Sequence[str] = (),
    trust: bool = False,
) -> Request:
    """Check names and numbers and return what they ask for.

    Args:
        table: its name, or the path of a YAML file.
        profile: shipped name or path of a YAML file.
        rows: row keys; none means all rows (control rows only with `controls`).
        columns: column keys; none means all.
        controls: the control rows too.
        scales: the rows of planned claims at other guidance scales too; see `bench.spec.scales`.
        seeds: training seeds; None takes the table's own, or 0.
        limit: prompts per suite.
        methods: more methods, `pkg.mod:Class` or `file.py:Class`: all their rows, unless `rows`
            names some of them.
        overrides: `"key.key=value"` changes to the profile.
        protocol: in place of the table's or the profile's own.
        weights: more rows, `"label=weights"`: one row of published weights each.
        trust: whether the files may name code that nobody registered.

    Raises:
        UsageError: something is unknown (the nearest names are given) or out of range.
    """
    spec = load_table(table, trust=trust).in_profile(profile)
    world = world_of(spec)
    world.refuse(
        spec,
        {
            "--limit": limit is not None,
            "--protocol": protocol is not None,
            "--controls": controls,
            "--scales": scales,
            "--profile": profile != DEFAULT_PROFILE,
            "--row": bool(weights),
        },
    )
    settings = world.profile(
        spec,
        profile,
        overrides=overrides,
        protocol=protocol or (None if "protocol" in asked_of(overrides) else spec.protocol),
        trust=trust,
    )
    added = [world.added(target, spec) for target in methods]
    added += [(weights_row(text),) for text in weights]
    for row in (row for some in added for row in some):
        spec = _with_row(spec, row)
    wanted = {spec.row(key).key for key in rows}
    for some in added:
        if wanted.isdisjoint(row.key for row in some) and wanted:
            wanted.update(row.key for row in some)
    taken = tuple(
        row
        for row in spec.rows
        if row.key in wanted or (not wanted and (row.added or controls or not row.control))
    )
    chosen = {spec.column(key).key for key in columns} or {c.key for c in spec.columns}
    if isinstance(settings, Profile):
        keys = [c.key for c in spec.columns if c.key in chosen]
        others = curve_rows(spec, settings, taken, keys)
        if scales and others:
            raise UsageError(
                f"--scales: table {spec.name} shows all its rows at all scales of its curve; "
                "leave it out."
            )
        if scales:
            others = scale_rows(spec, settings, [row.key for row in taken], keys)
        for row in others:
            spec, taken = _with_row(spec, row), (*taken, row)
    return Request(
        table=spec,
        profile=settings,
        rows=taken,
        columns=tuple(c for c in spec.columns if c.key in chosen),
        seeds=_checked_seeds((spec.seeds or (0,)) if seeds is None else seeds),
        limit=_checked_limit(limit),
        profile_name=Path(profile).name,
        protocol=protocol,
        table_name=Path(table).name,
        trust=trust,
    )


def _with_row(spec: TableSpec, row: RowSpec) -> TableSpec:
    for other in spec.rows:
        if row.key == other.key or row.label == other.label:
            what = f"method {row.method!r}" if row.method else f"--row {row.label!r}"
            cure = "Give the class another `name`." if row.method else "Choose another label."
            raise UsageError(
                f"{what} is named {row.key!r}, and table {spec.name} has a row of that name, "
                f"{other.label!r}. {cure}"
            )
    return replace(spec, rows=(*spec.rows, row))


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted(set(seeds)))
    if not found or found[0] < 0:
        raise UsageError(f"training seeds {list(seeds)}; expected numbers from 0, such as 0,1,2.")
    return found


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}; expected at least 1 prompt per suite.")
    return limit
