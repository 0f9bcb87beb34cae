"""`bench plan --table NAME`: what `bench run` would do, why, how long and how much. No torch.

With --power: what its verdicts could see.
"""

from __future__ import annotations

import argparse

from bench.cli._parser import Subparsers, add_common
from bench.cli._plan import print_plan
from bench.cli._power import add_power, require_power, show_power
from bench.cli._request import add_request, add_work, job_count, request_of
from bench.cli._verbs import VERBS


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("plan", help=VERBS["plan"], description=__doc__)
    add_request(parser)
    add_work(parser)
    add_power(parser)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        UsageError: an option of --power without it, or --power of a table without images.
    """
    require_power(args)
    request = request_of(args)
    if args.power:
        return show_power(args, request)
    from bench.harness.tables import plan

    found = plan(request, store=args.store)
    jobs = job_count(args, request.profile)
    return print_plan(request.table.name, request.profile.name, found, jobs=jobs, as_json=args.json)
