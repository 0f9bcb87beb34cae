"""`bench plan --table NAME`: what `bench run` would do, why, how long and how much. No torch.

With --power: what its verdicts could see.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.cli._output import WIDTH, hanging, print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import duration, size
from bench.cli._request import add_ranks, add_request, add_work, job_count, request_of
from bench.cli._verbs import VERBS

_LONG = 3600.0
"""Seconds of work from which a plan says where they go."""

if TYPE_CHECKING:
    from bench.harness import Plan
    from bench.harness.power import PlannedPower, PowerPlan


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("plan", help=VERBS["plan"], description=__doc__)
    add_request(parser)
    add_work(parser)
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help="times on this GPU, by arithmetic (a100, h100, ...); --gpus says how many",
    )
    add_ranks(parser)
    _add_power(parser)
    add_common(parser, json=True)
    return parser


def _add_power(parser: argparse.ArgumentParser) -> None:
    """Add `--power` and its options."""
    group = parser.add_argument_group("power")
    group.add_argument(
        "--power",
        action="store_true",
        help="the smallest difference the run can see in 80 of 100 times, claim by claim, and how "
        "many seeds, prompts or images a given one needs; makes nothing",
    )
    group.add_argument(
        "--effect", type=float, metavar="X", help="difference to plan for (default: the published)"
    )
    group.add_argument(
        "--variances",
        type=Path,
        metavar="DIR",
        help="measured table to take variances from (default: the one in the store, where two "
        "seeds or more were trained; else results/table-NAME)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        UsageError: an option of --power without it, or --power of a table without images.
    """
    for name in ("effect", "variances"):
        if getattr(args, name) is not None and not args.power:
            raise UsageError(f"--{name} needs --power.")
    if args.gpu is not None:
        args.overrides = [*args.overrides, f"speed.gpu={args.gpu}"]
    request = request_of(args)
    if args.power:
        from bench.harness.power import plan_power

        power = plan_power(request, store=args.store, variances=args.variances, effect=args.effect)
        if args.json:
            print_json(power.to_json())
        else:
            _print_power(power)
        return 0
    from bench.harness.plans import plan

    found = plan(request, store=args.store, ranks=args.ranks)
    # times on a named GPU are for as many as are planned with, not for those that can be seen
    jobs = args.jobs or args.gpus or 1 if found.times else job_count(args, request.profile)
    return print_plan(request.table.name, request.profile.name, found, jobs=jobs, as_json=args.json)


def print_plan(table: str, profile: str, plan: Plan, *, jobs: int, as_json: bool) -> int:
    """Print what a run would do, and return 0; 3 where a prerequisite is missing."""
    code = 3 if plan.missing else 0
    if as_json:
        print_json(
            {
                "table": table,
                "profile": profile,
                **plan.to_json(),
                "seconds": round(plan.seconds(jobs), 1),
                "bytes": plan.bytes,
                "peak_bytes": plan.peak_bytes(jobs),
                "worker_seconds": round(plan.worker_seconds, 1),
                "jobs": jobs,
            }
        )
        return code
    for step in plan.steps:
        ranks = "" if step.ranks == 1 else f", by {step.ranks} ranks"
        time = f"{duration(step.seconds / step.ranks)}{ranks}"
        cost = f", about {time}, {size(step.bytes)}" if step.seconds else ""
        why = f" ({step.reason})" if step.reason and step.state != "missing" else ""
        print(f"{step.state:<10}  {step.label}{cost}{why}")
    for text in plan.not_measured:
        print(f"n/a         {text}")
    for text in plan.missing:
        print(f"lacking     {text}")
    cached = sum(step.state == "cached" for step in plan.steps)
    if not plan.to_do:
        print(f"complete: {cached} artifacts cached, nothing to do")
    else:
        print(
            f"{len(plan.to_do)} artifacts to make, {cached} cached; about "
            f"{duration(plan.seconds(jobs))} with {_workers(plan, jobs)}, {size(plan.bytes)}"
        )
        _print_sums(plan, jobs)
    return code


def _print_sums(plan: Plan, jobs: int) -> None:
    """Print where the time goes, of a plan of hours, and the disk where it takes more meanwhile."""
    if plan.worker_seconds >= _LONG:
        print(hanging("in all      ", f"{duration(plan.worker_seconds)} of {_workers(plan, 1)}"))
        for name, parts in (("by kind", plan.by_kind()), ("by row", plan.by_row())):
            told = ", ".join(f"{key} {duration(s)}" for key, s in parts.items() if s >= 60)
            print(hanging(f"{name:<12}", told))
    peak = plan.peak_bytes(jobs)
    if peak > 1.1 * plan.bytes:
        print(hanging("disk        ", f"{size(peak)} while parts are put together"))
    for text in (*plan.notes, plan.times):
        if text:
            print(hanging("", text))


def _workers(plan: Plan, jobs: int) -> str:
    name = "GPU" if plan.times else "worker"
    return f"{jobs} {name}" + "s" * (jobs != 1)


def _print_power(found: PowerPlan) -> None:
    request = found.request
    noise = "one noise for all" if request.profile.noise == "shared" else "noise of its own each"
    sizes = ", ".join(f"{key} {d.prompts} x {d.images}" for key, d in found.designs.items())
    source = f"{found.folder} (profile {found.profile}), {found.seeds} training seeds"
    print(hanging("variances  ", f"{source}: rough where those are few"))
    planned = f"{len(request.seeds)} training seeds, {noise}; prompts x images: {sizes}"
    print(hanging("planned    ", planned))
    if not found.claims:
        print("no claim of this table is on the rows and columns asked for")
        return
    digits = {column.key: column.decimals for column in request.columns}
    print()
    columns = ["claim", "level", "sees", "effect", "seeds", "prompts", "images"]
    print_rows([_power_row(c, digits[c.column]) for c in found.claims], columns, width=WIDTH)
    print()
    for text in found.notes():
        print(hanging("", text))


def _power_row(item: PlannedPower, decimals: int) -> dict[str, str | None]:
    row = {
        "claim": f"{item.better} > {item.worse} {item.column}",
        "level": f"{item.alpha:.2g}",
        "sees": None if item.visible is None else f"{item.visible:.{decimals}f}",
        "effect": None if item.effect is None else f"{abs(item.effect):.{decimals}f}",
    }
    for name in ("seeds", "prompts", "images"):
        number = (item.needed or {}).get(name)
        row[name] = None if item.needed is None else str(number) if number else "no"
    if item.components is not None and item.components.images is None and item.needed:
        row["images"] = None
    return row
