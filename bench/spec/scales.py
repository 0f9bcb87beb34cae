"""Rows at other guidance scales than the protocol's: which of them are sampled.

A gain at one scale may be guidance and nothing else. A table says at which scale each row of its
planned claims is best (`scales:`, chosen on validation prompts), and `--scales` samples both rows
of each planned claim at the base's best scale and each at its own. A table of curves (`curve:`)
samples all its rows at all its scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.api.errors import UsageError, did_you_mean
from bench.spec.controls import base_row
from bench.spec.rows import RowSpec

if TYPE_CHECKING:
    from bench.spec.profile import Profile
    from bench.spec.table import TableSpec


def scale_rows(
    table: TableSpec, profile: Profile, rows: Sequence[str], columns: Sequence[str]
) -> tuple[RowSpec, ...]:
    """Return the rows that show a table's planned claims at other scales.

    A row whose scale is the protocol's own is there already.

    Args:
        table: as it is in the profile.
        profile: whose protocol is sampled at what scale.
        rows: keys of those that were asked for.
        columns: keys of those that were asked for.

    Raises:
        UsageError: no planned claim is on them, or the table does not say at which scale a row,
            or the base, is best.
    """
    base = base_row(table.rows)
    claims = [
        c
        for c in table.claims
        if c.planned and {c.better, c.worse} <= {*rows} and c.column in columns
    ]
    if not claims or base is None:
        raise UsageError(
            f"--scales shows the planned claims of a table at other guidance scales, and none of "
            f"table {table.name} is on the rows and columns asked for; leave it out."
        )
    found: dict[str, RowSpec] = {}
    for claim in claims:
        protocol = profile.protocol_of(table, table.column(claim.column))
        for key in (claim.better, claim.worse):
            for scale in dict.fromkeys(_best(table, profile, which) for which in (base.key, key)):
                if protocol is not None and scale == protocol.generation.cfg_scale:
                    continue
                _measure(found, at_scale(table.row(key), scale), claim.column)
    return tuple(found.values())


def curve_rows(
    table: TableSpec, profile: Profile, rows: Sequence[RowSpec], columns: Sequence[str]
) -> tuple[RowSpec, ...]:
    """Return the rows of a table of curves at the scales that are not their own already.

    Args:
        table: with its `curve`.
        profile: whose protocol is sampled at what scale.
        rows: those that were asked for.
        columns: keys of those that were asked for.

    Raises:
        UsageError: the scale of a column's protocol, or of a row, is none of the curve's.
    """
    found: dict[str, RowSpec] = {}
    for key in columns if table.curve else ():
        protocol = profile.protocol_of(table, table.column(key))
        if protocol is None:
            continue
        own = protocol.generation.cfg_scale
        if own not in table.curve:
            raise UsageError(
                f"table {table.name}: column {key} is sampled at guidance scale {own:g}, which is "
                f"none of its curve's, {', '.join(f'{s:g}' for s in table.curve)}; add it there."
            )
        for row in rows:
            if row.render is not None:
                continue
            if "cfg_scale" in row.sampling:
                raise UsageError(
                    f"table {table.name}, row {row.key!r} has a guidance scale of its own, and the "
                    "table's curve samples it at all of them; leave sampling.cfg_scale out."
                )
            for scale in table.curve:
                if scale != own:
                    _measure(found, at_scale(row, scale), key)
    return tuple(found.values())


def _measure(found: dict[str, RowSpec], row: RowSpec, column: str) -> None:
    """Add a row that is to be measured in a column, or the column to the row that is there."""
    columns = found.get(row.key, row).columns
    found[row.key] = replace(row, columns=tuple(dict.fromkeys([*columns, column])))


def at_scale(row: RowSpec, scale: float) -> RowSpec:
    """Return a row sampled at another guidance scale: no control there, which is tested once."""
    return replace(
        row,
        key=f"{row.key}@{scale:g}",
        label=f"{row.label}, CFG {scale:g}",
        sampling={**row.sampling, "cfg_scale": scale},
        scale_of=row.key,
        control="",
        columns=(),
        concerns=(),
        base=None,
        note=f"sampled at guidance scale {scale:g}",
    )


def _best(table: TableSpec, profile: Profile, row: str) -> float:
    if row in table.scales:
        return float(table.scales[row])
    hint = did_you_mean(row, table.scales) if table.scales else ""
    raise UsageError(
        f"table {table.name} does not say at which guidance scale row {row} is best in profile "
        f"{profile.name}.{hint} Choose it on validation prompts, and write it into the table's "
        f"file: profiles: {{{profile.name}: {{scales: {{{row}: SCALE}}}}}}."
    )
