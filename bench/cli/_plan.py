"""How a plan is printed: by `plan`, and by `run --dry-run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli._output import print_json
from bench.cli._progress import duration, size

if TYPE_CHECKING:
    from bench.executors.plan import Plan


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
                "jobs": jobs,
            }
        )
        return code
    for step in plan.steps:
        cost = f", about {duration(step.seconds)}, {size(step.bytes)}" if step.seconds else ""
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
            f"{duration(plan.seconds(jobs))} with {jobs} workers, {size(plan.bytes)}"
        )
    return code
