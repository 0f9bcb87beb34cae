"""What would be done for a table."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from bench.executors.plan import Plan, make_plan
from bench.harness.requests import DEFAULT_STORE, Asked, checked
from bench.spec.request import Request
from bench.steps.backends import look_again
from bench.steps.cells import build_graph
from bench.store import Store


def plan(
    table: str | Request,
    profile: str = "tiny",
    *,
    store: Path | str = DEFAULT_STORE,
    **asked: Unpack[Asked],
) -> Plan:
    """Return what `run` would do: what is there, what would be made, how long it takes.

    Changes nothing and imports no torch.

    Args:
        table: its name, the path of a YAML file, or what `request_for` returned.
        profile: a shipped name, or the path of a YAML file.
        store: the folder artifacts lie in.
        asked: rows, columns and more; see `bench.harness.requests.Asked`.

    Raises:
        UsageError: as `request_for`.
        StoreError: the store cannot be read.
    """
    look_again()
    request = checked(table, profile, store, asked)
    found = Store(Path(store))
    return make_plan(build_graph(request, found), found)
