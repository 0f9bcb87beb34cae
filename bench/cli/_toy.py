"""The 2D toy (`--table fig2`) behind the verbs `run` and `plan`; its table has no profile."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.cli._progress import report_failures, shown_work
from bench.cli._request import job_count, no_bars, store_of

if TYPE_CHECKING:
    from bench.report.stored import Report
    from bench.steps.cells import TableGraph
    from bench.toy.graph import ToyRequest

LOG = logging.getLogger("bench.cli")
TOY = "fig2"


def toy_table() -> dict[str, str]:
    """Return the toy's line for `bench list tables`."""
    from bench.toy.graph import make_request
    from bench.toy.table import TITLE

    request = make_request()
    return {
        "name": TOY,
        "title": TITLE,
        "rows": ", ".join(row.key for row in request.rows),
        "columns": ", ".join(column.key for column in request.columns),
    }


def toy_request(args: argparse.Namespace) -> ToyRequest:
    """Return the request of the options of `add_request`.

    Raises:
        UsageError: an option means nothing here, or something is unknown.
    """
    for option, given in (
        ("--limit", args.limit is not None),
        ("--protocol", args.protocol is not None),
        ("--controls", args.controls),
        ("--profile", args.profile != "tiny"),
        ("--device", args.device not in (None, "auto", "cpu")),
    ):
        if given:
            raise UsageError(
                f"{option} means nothing for table {TOY}: the 2D toy has one form and runs on the "
                "CPU. Its settings are changed with --set, e.g. --set finetune.steps=180."
            )
    no_bars()
    from bench.spec.overrides import require_read
    from bench.toy.graph import DEFAULT_SEEDS, build_graph, make_request
    from bench.toy.settings import toy_settings

    def request(overrides: Sequence[str]) -> ToyRequest:
        return make_request(
            rows=args.rows,
            columns=args.cols,
            seeds=DEFAULT_SEEDS if args.seeds is None else args.seeds,
            methods=args.method,
            overrides=overrides,
        )

    found = request(args.overrides)
    require_read(
        args.overrides,
        request,
        # what is handed to the nodes is all settings; what they read of them is in their ids
        lambda asked: [node.id for node in build_graph(asked).graph],
        lambda: toy_settings().to_json(),
    )
    return found


def plan_toy(args: argparse.Namespace) -> int:
    """Print what a run would do."""
    from bench.cli.plan import print_plan
    from bench.toy.graph import build_graph

    graph = build_graph(toy_request(args))
    return print_plan(
        TOY, "toy", graph, store_of(args), jobs=job_count(args, None), as_json=args.json
    )


def run_toy(args: argparse.Namespace) -> int:
    """Make what is missing, write table and pictures, and print the table."""
    from bench.harness.work import execute
    from bench.toy.graph import build_graph

    request, store = toy_request(args), store_of(args)
    graph = build_graph(request)
    folder: Path = args.output or args.store / "tables" / TOY
    with shown_work(args) as work:
        outcome = execute(graph.graph, graph.targets, store, work)
    complete = outcome.was_complete
    report = _stored(request, graph, folder) if complete else None
    found = report is not None
    if report is None:
        from bench.report.stored import make_report, write_report
        from bench.toy.figure import draw_figures
        from bench.toy.table import table_data

        report = make_report(table_data(request, graph, store, outcome), graph.targets)
        write_report(report, folder, pictures=draw_figures(request, graph, store))
    print(report.render("json" if args.json else "terminal"), end="")
    if found:
        print(f"complete: nothing to do ({folder})", file=sys.stderr)
        return 0
    report_failures(outcome, graph.graph)
    LOG.info("wrote %s", folder)
    return outcome.exit_code


def _stored(request: ToyRequest, graph: TableGraph, folder: Path) -> Report | None:
    """Return the report that lies in `folder` if it is whole and the one of this request."""
    from bench.cli.run import whole_table
    from bench.toy.figure import figure_names
    from bench.toy.table import same_table

    found = whole_table(folder)
    if found is None or not set(figure_names(request)) <= set(found[0].files):
        return None
    return found[1] if same_table(found[1], request, graph) else None
