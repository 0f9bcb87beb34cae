"""`bench run --table NAME`: make everything a table needs, and print the table.

The same command again continues what was interrupted, and does nothing when all is there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import PrerequisiteError
from bench.cli._execute import execute as execute_graph
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import (
    add_request,
    add_work,
    device_of,
    job_count,
    request_of,
    store_of,
)
from bench.cli._toy import TOY, run_toy
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.executors.local import Outcome
    from bench.report.stored import Report
    from bench.spec.request import Request
    from bench.steps.cells import TableGraph
    from bench.steps.graph import Graph
    from bench.store import Published, Store

LOG = logging.getLogger("bench.cli")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("run", help=VERBS["run"], description=__doc__)
    add_request(parser)
    add_work(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where the table goes (STORE/tables/NAME)"
    )
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be done, as `bench plan`"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the table and print it."""
    if args.table == TOY:
        return run_toy(args)
    request, store = request_of(args), store_of(args)
    from bench.steps.cells import build_graph

    graph = build_graph(request, store)
    if args.dry_run:
        from bench.cli.plan import show_plan

        return show_plan(request, graph, store, jobs=_jobs(args, request), as_json=args.json)
    require(graph)
    folder: Path = args.output or args.store / "tables" / request.table.name
    outcome, complete = execute(args, request, graph, store)
    report = stored_report(request, graph, folder) if complete else None
    if report is None:
        from bench.report.collect import table_data
        from bench.report.samples import draw_samples
        from bench.report.stored import make_report, write_report

        data = table_data(request, graph, store, outcome)
        report = make_report(data, graph.targets)
        write_report(report, folder, pictures=draw_samples(data, store))
    print(report.render("json" if args.json else "terminal"), end="")
    if complete:
        print(f"complete: nothing to do ({folder})", file=sys.stderr)
        return 0
    report_failures(outcome, graph.graph)
    LOG.info("wrote %s", folder)
    return outcome.exit_code


def _jobs(args: argparse.Namespace, request: Request) -> int:
    return job_count(args, device_of(args, request.profile.device))


def require(graph: TableGraph) -> None:
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


def together(missing: Sequence[PrerequisiteError]) -> PrerequisiteError:
    """Return one error that says all that is missing, and the commands that get it."""
    if len(missing) == 1:
        return missing[0]
    found = "\n  ".join(str(error).partition("\n")[0] for error in missing)
    fixes = "\n              ".join(dict.fromkeys(error.fix for error in missing))
    return PrerequisiteError(f"{len(missing)} things are missing:\n  {found}", fix=fixes)


def execute(
    args: argparse.Namespace, request: Request, graph: TableGraph, store: Store
) -> tuple[Outcome, bool]:
    """Make what is missing; return what happened, and whether all was there before."""
    return execute_graph(
        args,
        graph.graph,
        graph.targets,
        store,
        jobs=_jobs(args, request),
        runtime=runtime_of(args, request),
    )


def runtime_of(args: argparse.Namespace, request: Request) -> dict[str, Any]:
    """Return how the work is done: fields of `bench.steps.step.Runtime`."""
    profile = request.profile
    return {
        "device": device_of(args, profile.device),
        "generation_batch": profile.batch_size("generation"),
        "prediction_batch": profile.batch_size("prediction"),
    }


def stored_report(request: Request, graph: TableGraph, folder: Path) -> Report | None:
    """Return the report that lies in `folder` if it is whole and the one of this request."""
    from bench.report.collect import same_table
    from bench.report.stored import refresh_report

    found = whole_table(folder)
    if found is None or not same_table(found[1], request, graph):
        return None
    refresh_report(found[1], found[0])
    return found[1]


def whole_table(folder: Path) -> tuple[Published, Report] | None:
    """Return the published table if every byte of it is as it was sealed.

    Damage is said; the caller makes the table again from the scores in the store.
    """
    from bench.api.errors import UsageError
    from bench.report.sealed import extras_line, is_no_table
    from bench.report.stored import read_table
    from bench.store import finish_publication, read_folder

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


def report_failures(outcome: Outcome, graph: Graph) -> None:
    """List on stderr what failed, with the traceback of what nobody expected."""
    failed = {key: f for key, f in outcome.failures.items() if f.cause == key}
    for key, failure in failed.items():
        if failure.trace:
            LOG.debug("%s", failure.trace)
        after = sum(1 for f in outcome.failures.values() if f.cause == key) - 1
        LOG.error(
            "failed: %s: %s%s",
            graph[key].label,
            failure.message,
            f" ({after} more depend on it)" if after else "",
        )
    if failed:
        LOG.error("%d failed; the same command tries them again (-v shows more)", len(failed))
