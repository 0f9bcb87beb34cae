"""Which back-ends chose the data behind a model, or were its reward: their metrics are circular.

A claim that a table plans, and a control, must not rest on such a number: that is refused before
anything runs. Other claims are judged, marked circular, and never supported by it alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.api.errors import BenchError, UsageError
from bench.data.kinds import kind_module
from bench.spec.claims import ClaimSpec
from bench.spec.rows import TESTED, RowSpec
from bench.spec.table import TableSpec
from bench.steps.data import PairStep
from bench.steps.graph import Graph
from bench.store import Store


def rewards_of(row: RowSpec, rows: Mapping[str, RowSpec]) -> tuple[str, ...]:
    """Return the rewards of a row and of those it starts from."""
    found: list[str] = []
    seen: set[str] = set()
    here: RowSpec | None = row
    while here is not None and here.key not in seen:
        seen.add(here.key)
        found += here.rewards
        here = rows.get(here.start) if here.start is not None else None
    return tuple(dict.fromkeys(found))


def circular_names(
    selectors: Sequence[str], measured_by: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return which of `selectors` measured a cell.

    Args:
        selectors: names of back-ends.
        measured_by: by role, the identity of the back-end that measured.
    """
    found = []
    for name in selectors:
        weights = _weights(name)
        for backend in measured_by.values():
            same = weights is not None and weights == _weights_of(backend)
            if name == backend.get("backend") or same:
                found.append(name)
                break
    return sorted(set(found))


def _weights(name: str) -> Any:
    """Return the weights of a back-end by name, None where it is unknown or they are not here."""
    from bench.steps.backends import backend_identity

    try:
        return _weights_of(backend_identity(name))
    except BenchError:
        return None


def _weights_of(identity: Mapping[str, Any]) -> Any:
    return identity.get("weights")


Measured = tuple[str, Mapping[str, Mapping[str, Any]]]
"""The scores of a cell, and the identities of the back-ends that measured it, by role."""


def refuse_circular(
    table: TableSpec, graph: Graph, cells: Mapping[tuple[str, str], Measured], store: Store
) -> None:
    """Refuse planned claims and controls on numbers of what chose the training data.

    Args:
        table: with claims and controls.
        graph: with the steps of all cells.
        cells: those that can be measured, by row and column.
        store: where finished curations are.

    Raises:
        UsageError: there is one; file and line, the row and the back-end are named.
    """
    rows = {row.key: row for row in table.rows}
    for what, key, column in _deciding(table):
        if (key, column) not in cells:
            continue
        scores, backends = cells[key, column]
        selectors = [*rewards_of(rows[key], rows), *_behind(scores, graph, store)]
        names = circular_names(selectors, backends)
        if names:
            if isinstance(what, ClaimSpec):
                said = f"{table.claim_place(what)}planned claim {what.better} > {what.worse}"
            else:
                said = f"{table.row_place(what.key)}control {what.key}"
            raise UsageError(
                f"{said} is on {column}, which {', '.join(names)} measures, and that chose "
                f"the training data of row {key} or was its reward: such a number decides nothing. "
                "Take another column (a claim that is not planned is judged all the same, marked "
                "circular, and never supported by it alone)."
            )


def _deciding(table: TableSpec) -> Iterator[tuple[ClaimSpec | RowSpec, str, str]]:
    """Yield each planned claim and each control that is tested, with a row and a column of it."""
    for claim in table.claims:
        for row in (claim.better, claim.worse) if claim.planned else ():
            yield claim, row, claim.column
    for control in table.rows:
        for column in control.columns if control.control in TESTED else ():
            yield control, control.key, column


def _behind(step: str, graph: Graph, store: Store) -> Iterator[str]:
    """Yield the back-ends that choose data of pair sets among the steps behind one."""
    queue, seen = [step], {step}
    while queue:
        here = graph[queue.pop()]
        if isinstance(here, PairStep):
            chosen_by = getattr(kind_module(here.data_kind), "chosen_by", None)
            if chosen_by is not None:
                yield from chosen_by(store, here.settings)
        queue += [key for key in here.upstream.values() if key in graph and key not in seen]
        seen.update(queue)
