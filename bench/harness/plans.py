"""What would be done for a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from bench.api.registry import DEFAULT_PROFILE
from bench.assets.weights import registry
from bench.executors.plan import Plan, make_plan
from bench.executors.published import far_from_published
from bench.harness.requests import DEFAULT_STORE, Asked, checked
from bench.spec.request import Request
from bench.steps.backends import look_again
from bench.steps.cells import build_graph
from bench.steps.prerequisites import Needs, table_needs
from bench.store import Store


def plan(
    table: str | Request,
    profile: str = DEFAULT_PROFILE,
    *,
    store: Path | str = DEFAULT_STORE,
    ranks: int = 1,
    **asked: Unpack[Asked],
) -> Plan:
    """Return what `run` would do: what is there, what would be made, how long it takes.

    Changes nothing and imports no torch.

    Args:
        table: its name, the path of a YAML file, or what `request_for` returned.
        profile: a shipped name, or the path of a YAML file.
        store: the folder artifacts lie in.
        ranks: processes that share each training.
        asked: rows, columns and more; see `bench.harness.requests.Asked`.

    Raises:
        UsageError: as `request_for`.
        StoreError: the store cannot be read.
    """
    look_again()
    request = checked(table, profile, store, asked)
    found = Store(Path(store))
    graph = build_graph(request, found)
    planned = make_plan(graph, found, ranks=ranks)
    if request.table.world is not None:
        return planned
    notes = (
        *far_from_published(graph.graph, planned, request.images),
        *_to_fetch(request, planned),
    )
    return replace(planned, notes=notes)


def _to_fetch(request: Request, planned: Plan) -> Iterator[str]:
    """Yield how much is to be fetched, where something is missing or cannot be measured."""
    if not planned.missing and not planned.not_measured:
        return
    needs = table_needs(request.table, request.images)
    sizes = [registry()[name].gigabytes for name in _names(needs) if name in registry()]
    unknown = len(_names(needs)) - len(sizes)
    if sizes or unknown:
        more = f", and {unknown} of unknown size" if unknown else ""
        asked = f"--table {request.table.name} --profile {request.profile.name}"
        yield (
            f"models of the whole table: {sum(sizes):.1f} GB in {len(sizes)} pieces{more}; "
            f"licences and what is there: python -m bench assets fetch {asked} --dry-run"
        )


def _names(needs: Needs) -> list[str]:
    return [*(model.repository for model in needs.models), *(need.name for need in needs.weights)]
