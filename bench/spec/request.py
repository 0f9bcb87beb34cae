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
        table_name: as it was asked for; a file without its folders.
        trust: whether the user trusts the code that the files name.
    """

    table: TableSpec
    profile: Profile
    rows: tuple[RowSpec, ...]
    columns: tuple[ColumnSpec, ...]
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    profile_name: str = "tiny"
    protocol: str | None = None
    table_name: str = ""
    trust: bool = False

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
        seeds: training seeds.
        limit: prompts per suite.
        methods: more methods, `pkg.mod:Class` or `file.py:Class`: one row each.
        overrides: `"key.key=value"` changes to the profile.
        protocol: in place of the table's or the profile's own.
        weights: more rows, `"label=weights"`: one row of published weights each.
        trust: whether the files may name code that nobody registered.

    Raises:
        UsageError: something is unknown (the nearest names are given) or out of range.
    """
    spec = load_table(table, trust=trust).in_profile(profile)
    settings = load_profile(
        profile,
        table=spec,
        overrides=overrides,
        protocol=protocol or (None if "protocol" in asked_of(overrides) else spec.protocol),
        trust=trust,
    )
    added = [method_row(target) for target in methods] + [weights_row(text) for text in weights]
    for row in added:
        spec = _with_row(spec, row)
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
        table_name=Path(table).name,
        trust=trust,
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
        key=key or _slug(str(cls.name)),
        label=f"+ {cls.name}",
        method=target,
        note=f"{Path(target).name}: not published",
        added=True,
    )


def weights_row(text: str) -> RowSpec:
    """Return the row of `--row "label=weights"`: a slug of the label is its key.

    Args:
        text: the weights are a file or folder of a LoRA, a network or a pipeline, a hub id, or a
            `train/...` artifact.

    Raises:
        UsageError: label or weights are missing, or the label has no letter or digit.
    """
    label, equals, weights = (part.strip() for part in text.partition("="))
    if not equals or not label or not weights:
        raise UsageError(f"--row {text!r}; expected LABEL=WEIGHTS, e.g. mine=path/to/my-lora.")
    key = _slug(label.lower())
    if not key:
        raise UsageError(f"--row {text!r}: the label needs a letter or a digit.")
    note = f"{Path(weights).name}: not published"
    return RowSpec(key=key, label=label, weights=weights, note=note, added=True)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


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
