"""What is asked for from Python, checked as the command line's is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from bench.api.registry import DEFAULT_PROFILE
from bench.harness.sets import require_table_sets
from bench.spec.request import Request, make_request
from bench.spec.world import world_of
from bench.store import Store

DEFAULT_STORE = "outputs"


class Asked(TypedDict, total=False):
    """Which part of a table, and with which changes; see `bench.spec.request.make_request`.

    Attributes:
        rows: row keys; none means all rows but controls.
        columns: column keys; none means all.
        controls: the control rows too.
        scales: the rows of planned claims at other guidance scales too.
        seeds: training seeds; None means the table's own.
        limit: about so many prompts per suite; the table is marked partial.
        methods: more rows, each trained with a method: `pkg.mod:Class` or `file.py:Class`.
        overrides: changes to the profile, `"generation.steps=4"`.
        protocol: how images are made, in place of the profile's own.
        weights: more rows, each of published weights: `"label=path/to/lora.safetensors"`.
        trust: whether YAML files may name code that nobody registered.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    controls: bool
    scales: bool
    seeds: Sequence[int] | None
    limit: int | None
    methods: Sequence[str]
    overrides: Sequence[str]
    protocol: str | None
    weights: Sequence[str]
    trust: bool


def with_overrides(asked: Asked, overrides: Sequence[str]) -> Asked:
    """Return what is asked for with other changes to the profile."""
    changed = asked.copy()
    changed["overrides"] = overrides
    return changed


def request_for(
    table: str,
    profile: str = DEFAULT_PROFILE,
    *,
    store: Path | str = DEFAULT_STORE,
    **asked: Unpack[Asked],
) -> Request:
    """Return the checked request for a table.

    Args:
        table: its name, or the path of a YAML file.
        profile: a shipped name, or the path of a YAML file.
        store: where hashes of checkpoints are remembered.
        asked: see `Asked`.

    Raises:
        UsageError: something is unknown (the nearest names are given) or out of range, or nothing
            reads one of `overrides`.
    """

    def request(overrides: Sequence[str]) -> Request:
        return make_request(table, profile, **with_overrides(asked, overrides))

    overrides = asked.get("overrides", ())
    found = request(overrides)
    require_table_sets(overrides, request, Store(Path(store)))
    return found


def checked(table: str | Request, profile: str, store: Path | str, asked: Asked) -> Request:
    """Return a request as it is, or the one `request_for` makes of what is asked.

    Raises:
        TypeError: something is asked beside a request, which says it already.
        UsageError: as `request_for`.
    """
    if isinstance(table, Request):
        if asked:
            raise TypeError(f"{', '.join(asked)}: a request says that already")
        return table
    return request_for(table, profile, store=store, **asked)


def refuse_device(request: Request, device: str | None, ranks: int = 1) -> None:
    """Refuse a device, or several, that the table's world knows nothing of (UsageError)."""
    other = device not in (None, "auto", request.profile.device)
    world_of(request.table).refuse(request.table, {"--device": other, "--ranks": ranks != 1})
