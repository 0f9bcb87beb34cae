"""What is asked for: rows, columns, seeds and sizes of one table in one profile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.api.errors import UsageError
from bench.spec.methods import method_class
from bench.spec.overrides import asked_of
from bench.spec.profile import Profile, load_profile
from bench.spec.table import ColumnSpec, RowSpec, TableSpec, load_table


@dataclass(frozen=True, kw_only=True)
class Request:
    """A checked request.

    Attributes:
        table: all the rows there are, those of `methods` included.
        profile: see `bench.spec.profile`.
        rows, columns: those asked for, in the table's order.
        seeds: training seeds, ascending.
        limit: prompts per evaluation suite, or None for all.
        profile_name: as it was asked for.
        protocol: asked for in place of the profile's own, or None.
    """

    table: TableSpec
    profile: Profile
    rows: tuple[RowSpec, ...]
    columns: tuple[ColumnSpec, ...]
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    profile_name: str = "tiny"
    protocol: str | None = None

    @property
    def partial(self) -> bool:
        """Whether the suites are cut, so that the numbers are not the table's."""
        return self.limit is not None


def make_request(
    table: str,
    profile: str = "tiny",
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    controls: bool = False,
    seeds: Sequence[int] = (0,),
    limit: int | None = None,
    methods: Sequence[str] = (),
    overrides: Sequence[str] = (),
    protocol: str | None = None,
) -> Request:
    """Check names and numbers and return what they ask for.

    Args:
        table: its name.
        profile: shipped name or path of a YAML file.
        rows: row keys; none means all rows (control rows only with `controls`).
        columns: column keys; none means all.
        controls: the control rows too.
        seeds: training seeds.
        limit: prompts per suite.
        methods: more methods, `pkg.mod:Class` or `file.py:Class`: one row each.
        overrides: `"key.key=value"` changes to the profile.
        protocol: in place of the table's or the profile's own.

    Raises:
        UsageError: something is unknown (the nearest names are given) or out of range.
    """
    spec = load_table(table).in_profile(profile)
    settings = load_profile(
        profile,
        table=spec,
        overrides=overrides,
        protocol=protocol or (None if "protocol" in asked_of(overrides) else spec.protocol),
    )
    added = [_added_row(target, spec) for target in methods]
    spec = replace(spec, rows=(*spec.rows, *added))
    wanted = {spec.row(key).key for key in rows}
    taken = tuple(
        row
        for row in spec.rows
        if row.key in wanted or (row in added) or (not wanted and (controls or not row.control))
    )
    chosen = {spec.column(key).key for key in columns}
    return Request(
        table=spec,
        profile=settings,
        rows=taken,
        columns=tuple(c for c in spec.columns if not chosen or c.key in chosen),
        seeds=_checked_seeds(seeds),
        limit=_checked_limit(limit),
        profile_name=Path(profile).name,
        protocol=protocol,
    )


def method_row(target: str, key: str | None = None) -> RowSpec:
    """Return the row of a method that no table file has.

    Args:
        target: registry name, `pkg.mod:Class` or `file.py:Class`.
        key: of the row; by default the method's own name.

    Raises:
        UsageError, ContractError: as `bench.spec.methods.method_class`.
    """
    cls = method_class(target)
    return RowSpec(
        key=key or re.sub(r"[^A-Za-z0-9._-]+", "-", str(cls.name)).strip("-."),
        label=f"+ {cls.name}",
        method=target,
        note=f"{Path(target).name}: not published",
        added=True,
    )


def _added_row(target: str, spec: TableSpec) -> RowSpec:
    row = method_row(target)
    if any(row.key == other.key for other in spec.rows):
        raise UsageError(
            f"method {target!r} is named {row.key!r}, and table {spec.name} has a row of that "
            "name. Give the class another `name`."
        )
    return row


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted(set(seeds)))
    if not found or found[0] < 0:
        raise UsageError(f"training seeds {list(seeds)}; expected numbers from 0, such as 0,1,2.")
    return found


def _checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}; expected at least 1 prompt per suite.")
    return limit
