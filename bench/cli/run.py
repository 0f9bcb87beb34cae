"""`bench run --table NAME`: make everything a table needs, and print the table.

The same command again continues what was interrupted, and does nothing when all is there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from bench.cli._output import print_report
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import report_failures, shown_work
from bench.cli._request import add_ranks, add_request, add_work, job_count, request_of
from bench.cli._verbs import VERBS
from bench.cli.plan import print_plan

LOG = logging.getLogger("bench.cli")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("run", help=VERBS["run"], description=__doc__)
    add_request(parser)
    add_work(parser)
    add_ranks(parser)
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
    request = request_of(args)
    from bench.harness.plans import plan
    from bench.harness.tables import run as run_table

    if args.dry_run:
        found = plan(request, store=args.store, ranks=args.ranks)
        jobs = job_count(args, request.profile)
        table, profile = request.table.name, request.profile.name
        return print_plan(table, profile, found, jobs=jobs, as_json=args.json)
    with shown_work(args) as work:
        result = run_table(request, store=args.store, folder=args.output, **work)
    print_report(result.render("json" if args.json else "terminal"), as_json=args.json)
    if result.outcome.was_complete:
        print(f"complete: nothing to do ({result.folder})", file=sys.stderr)
        return 0
    report_failures(result)
    LOG.info("wrote %s", result.folder)
    return result.outcome.exit_code
