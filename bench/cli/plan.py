"""`bench plan --table NAME`: what `bench run` would do, why, how long and how much. No torch.

With --power: what its verdicts could see.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._power import add_power, require_power, show_power
from bench.cli._progress import duration, size
from bench.cli._request import add_request, add_work, job_count, request_of, store_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.spec.request import Request
    from bench.steps.cells import TableGraph
    from bench.store import Store


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
    request, store = request_of(args), store_of(args)
    if args.power:
        return show_power(args, request)
    from bench.steps.cells import build_graph

    graph = build_graph(request, store)
    jobs = job_count(args, request.profile)
    return show_plan(request, graph, store, jobs=jobs, as_json=args.json)


def show_plan(
    request: Request, graph: TableGraph, store: Store, *, jobs: int, as_json: bool
) -> int:
    """Print what a run would do, and return 0; 3 where a prerequisite is missing."""
    from bench.executors.plan import make_plan

    plan = make_plan(graph, store)
    unmeasured = {f"{c.column}: {c.reason}" for c in graph.cells if c.node is None}
    code = 3 if plan.missing else 0
    if as_json:
        print_json(
            {
                "table": request.table.name,
                "profile": request.profile.name,
                **plan.to_json(),
                "not_measured": sorted(unmeasured),
                "seconds": round(plan.seconds(jobs), 1),
                "bytes": plan.bytes,
                "jobs": jobs,
            }
        )
        return code
    for step in plan.steps:
        cost = f", about {duration(step.seconds)}, {size(step.bytes)}" if step.seconds else ""
        why = f" ({step.reason})" if step.reason and step.state != "missing" else ""
        print(f"{step.state:<10}  {step.label}{cost}{why}")
    for text in sorted(unmeasured):
        print(f"n/a         {text}")
    for text in plan.missing:
        print(f"lacking     {text}")
    cached = sum(step.state == "cached" for step in plan.steps)
    if not plan.to_do:
        print(f"complete: {cached} artifacts cached, nothing to do")
    else:
        print(
            f"{len(plan.to_do)} artifacts to make, {cached} cached; about "
            f"{duration(plan.seconds(jobs))} with {jobs} workers, {size(plan.bytes)}"
        )
    return code
