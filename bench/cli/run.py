"""`bench run --table NAME`: make everything a table needs, and print the table.

The same command again continues what was interrupted, and does nothing when all is there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import PrerequisiteError, together
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import report_failures, shown_work
from bench.cli._request import add_request, add_work, job_count, request_of, store_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.report.stored import Report
    from bench.spec.request import Request
    from bench.steps.cells import TableGraph
    from bench.store import Published

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
    request, store = request_of(args), store_of(args)
    from bench.steps.cells import build_graph

    graph = build_graph(request, store)
    if args.dry_run:
        from bench.cli.plan import show_plan

        jobs = job_count(args, request.profile)
        return show_plan(request, graph, store, jobs=jobs, as_json=args.json)
    require(graph)
    folder: Path = args.output or args.store / "tables" / request.table.name
    from bench.harness.work import execute

    with shown_work(args) as work:
        outcome = execute(graph.graph, graph.targets, store, work, request.profile)
    complete = outcome.was_complete
    report = stored_report(request, graph, folder) if complete else None
    if report is None:
        from bench.report.collect import table_data
        from bench.report.pictures import draw_pictures
        from bench.report.stored import make_report, write_report

        data = table_data(request, graph, store, outcome)
        report = make_report(data, graph.targets)
        write_report(report, folder, pictures=draw_pictures(request, graph, data, store))
    print(report.render("json" if args.json else "terminal"), end="")
    if complete:
        print(f"complete: nothing to do ({folder})", file=sys.stderr)
        return 0
    report_failures(outcome, graph.graph)
    LOG.info("wrote %s", folder)
    return outcome.exit_code


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
