"""A table made, or opened again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, Unpack

from bench.api.errors import PrerequisiteError, UsageError, together
from bench.api.registry import DEFAULT_PROFILE
from bench.executors.outcome import Listener, ignore
from bench.harness.repairs import with_repairs
from bench.harness.requests import DEFAULT_STORE, Asked, checked, refuse_device
from bench.harness.result import TableResult
from bench.harness.work import Work, execute
from bench.report.circular import marked_claims
from bench.report.collect import (
    empty_table,
    of_other_scores,
    rewarded,
    same_table,
    table_data,
)
from bench.report.pictures import draw_pictures
from bench.report.respecified import respecified as changed
from bench.report.sealed import extras_line, is_no_table
from bench.report.stored import (
    Report,
    make_report,
    pictures_of,
    read_report,
    read_table,
    refresh_report,
    write_report,
)
from bench.spec.request import Request
from bench.steps.cells import TableGraph, build_graph
from bench.store import Published, Store, finish_publication, read_folder

LOG = logging.getLogger("bench.harness")


def run(
    table: str | Request,
    profile: str = DEFAULT_PROFILE,
    *,
    store: Path | str = DEFAULT_STORE,
    folder: Path | str | None = None,
    jobs: int | None = None,
    gpus: int | None = None,
    device: str | None = None,
    ranks: int = 1,
    executor: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    on_event: Listener = ignore,
    **asked: Unpack[Asked],
) -> TableResult:
    """Make everything a table needs, and the table.

    The same call again continues what was interrupted, and does nothing where all is there. What
    fails is a failed cell of the result; see `TableResult.failures`.

    Args:
        table: its name, the path of a YAML file, or what `request_for` returned.
        profile: a shipped name, or the path of a YAML file.
        store: the folder artifacts lie in.
        folder: where the table is written; `STORE/tables/NAME` by default.
        jobs: worker processes, at most; one per core by default, or one per GPU.
        gpus: GPUs that are used, one to a worker; all that are visible by default.
        device: `"cpu"`, `"cuda"`, `"auto"`, or None for the profile's.
        ranks: processes that share each training, a GPU each, or a worker's place on CPUs; no
            number depends on it beyond float rounding.
        executor: `"ray"` for workers on the machines of a cluster that is there already.
        ray_address: of its head, `host:port`; None where this machine is a part of it.
        on_event: told of all that happens, as a `bench.harness.Event` each.
        asked: rows, columns and more; see `bench.harness.requests.Asked`.

    Raises:
        UsageError: as `request_for`.
        PrerequisiteError: models or prompts are missing, or no cell can be measured.
        StoreError: the store or the folder cannot be written.
        KeyboardInterrupt: after all workers have ended.
    """
    work = Work(
        jobs=jobs,
        gpus=gpus,
        device=device,
        ranks=ranks,
        executor=executor,
        ray_address=ray_address,
        on_event=on_event,
    )
    request = checked(table, profile, store, asked)
    refuse_device(request, device, ranks)
    target = Path(store) / "tables" / request.table.name if folder is None else Path(folder)
    return with_repairs(lambda: _run(request, Store(Path(store)), target, work))


def _run(request: Request, store: Store, folder: Path, work: Work) -> TableResult:
    graph = build_graph(request, store)
    _require(graph)
    outcome = execute(graph.graph, graph.targets, store, work, request.profile)
    if outcome.was_complete:
        found = _stored_report(request, graph, folder)
        if found is not None:
            stored, kept = found
            return TableResult(
                stored=stored, folder=folder, graph=graph.graph, outcome=outcome, pictures=kept
            )
    data = table_data(request, graph, store, outcome)
    report = make_report(data, graph.targets)
    pictures = draw_pictures(request, graph, data, store)
    write_report(report, folder, pictures=pictures)
    return TableResult(
        stored=report,
        folder=folder,
        graph=graph.graph,
        outcome=outcome,
        pictures=pictures,
        written=True,
    )


def _require(graph: TableGraph) -> None:
    """Make sure that something can be run.

    Raises:
        PrerequisiteError: models or prompts are missing, or no cell can be measured.
    """
    if graph.missing:
        raise together(graph.missing)
    if not graph.targets:
        reasons = sorted({f"{cell.column}: {cell.reason}" for cell in graph.cells})
        raise PrerequisiteError(
            "no cell can be measured:\n  " + "\n  ".join(reasons),
            fix="choose another profile, or provide what the reasons above name",
        )


def _stored_report(
    request: Request, graph: TableGraph, folder: Path
) -> tuple[Report, Mapping[str, bytes]] | None:
    """Return the report that lies in `folder`, and its pictures, if it is this request's."""
    found = whole_table(folder)
    if found is None or not same_table(found[1], request, graph):
        return None
    published, report = found
    others = of_other_scores(report, request, graph)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        LOG.warning(
            "%s: %s%s: not taken from the scores that this table asks for; it is made again from "
            "the scores",
            folder,
            others[0],
            more,
        )
        return None
    refresh_report(report, published)
    return report, pictures_of(published)


def whole_table(folder: Path) -> tuple[Published, Report] | None:
    """Return the published table if every byte of it is as it was sealed.

    Damage is said; the caller makes the table again from the scores in the store.
    """
    finish_publication(folder)
    published = read_folder(folder)
    if published.extras:
        LOG.warning("%s", extras_line(published))
    if is_no_table(published):
        return None
    if published.faults:
        reasons = "; ".join(published.faults.values())
        LOG.warning("%s is damaged: %s; it is made again from the scores", folder, reasons)
        return None
    try:
        return published, read_table(published)
    except UsageError:
        return None


def open_table(folder: Path | str) -> TableResult:
    """Return a table that was made before, such as `results/table-1a`.

    Raises:
        UsageError: there is none, or it is of another format.
        CorruptArtifactError: it is damaged, and cannot be made again from its records.
    """
    from bench.report.sealed import open_table as opened

    published = opened(Path(folder))
    return TableResult(
        stored=read_report(published), folder=Path(folder), pictures=pictures_of(published)
    )


def respecified(report: Report, request: Request) -> Report:
    """Return a stored table with the claims, published values and notes its file has now.

    Args:
        report: as it was read.
        request: what made it, of the present table.

    Raises:
        UsageError: the present table measures something else.
    """
    stored = replace(report.data, cells=tuple(rewarded(report.data.cells, request.table)))
    now = empty_table(request, stored.cells)
    data = replace(changed(stored, now), claims=marked_claims(now).claims)
    return make_report(data, report.targets)
