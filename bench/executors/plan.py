"""What a run would do: the state of each artifact, why, how long it takes, how much it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.executors.shards import may_be_cut
from bench.steps.cells import TableGraph
from bench.steps.step import Runtime
from bench.store import Store
from bench.store.listing import Listing


@dataclass(frozen=True, kw_only=True)
class Step:
    """One artifact of a plan.

    Attributes:
        id, label: as in the graph.
        state: `cached`, `missing`, `stale`, `partial`, `corrupt`, or `not needed`: not there, but
            what is made from it is.
        reason: why, where it is not cached.
        seconds, bytes: estimates of making it; 0 where nothing is to be done.
        divisible: whether several workers can make it together.
    """

    id: str
    label: str
    state: str
    reason: str
    seconds: float
    bytes: int
    divisible: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do.

    Attributes:
        steps: all, upstream first.
        missing: what is missing on this machine, with the command that gets it.
        not_measured: columns whose cells cannot be measured, each with the reason.
    """

    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    not_measured: tuple[str, ...] = ()

    @property
    def to_do(self) -> list[Step]:
        """The steps that a run would make."""
        return [step for step in self.steps if step.state not in ("cached", "not needed")]

    def seconds(self, jobs: int) -> float:
        """Return a rough time for `jobs` workers."""
        whole = [step.seconds for step in self.to_do if not step.divisible]
        return max(max(whole, default=0.0), sum(s.seconds for s in self.to_do) / max(1, jobs))

    @property
    def bytes(self) -> int:
        """What would be written."""
        return sum(step.bytes for step in self.to_do)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        from dataclasses import asdict

        return {
            "steps": [asdict(step) for step in self.steps],
            "missing": list(self.missing),
            "not_measured": list(self.not_measured),
        }


def make_plan(graph: TableGraph, store: Store) -> Plan:
    """Return what a run of the graph would do. Changes nothing, imports no torch.

    Raises:
        StoreError: the store cannot be read.
    """
    states, listing = {}, Listing(store.root)
    for step in graph.graph:
        states[step.id] = store.status(step.kind, step.name, step.identity, listing=listing)
    complete = {key for key, status in states.items() if status.state == "complete"}
    needed = graph.graph.needed(graph.targets, complete)
    steps = []
    for step in graph.graph:
        status = states[step.id]
        making = step.id in needed
        reason = "" if status.state == "complete" else status.reason
        if making and status.state == "stale":
            changed = [key for key in step.upstream.values() if key in needed]
            if changed:
                names = ", ".join(graph.graph[key].label for key in dict.fromkeys(changed))
                reason = f"made from what is not there either: {names}"
            if status.changes:
                reason = "; ".join(status.changes)
        state = {"complete": "cached"}.get(status.state, str(status.state))
        steps.append(
            Step(
                id=step.id,
                label=step.label,
                state=state if making or state == "cached" else "not needed",
                reason=reason if making else "",
                seconds=step.seconds if making else 0.0,
                bytes=step.bytes if making else 0,
                divisible=may_be_cut(step) and step.batches(Runtime()) > 1,
            )
        )
    return Plan(
        steps=tuple(steps),
        missing=tuple(str(error) for error in graph.missing),
        not_measured=tuple(
            sorted({f"{cell.column}: {cell.reason}" for cell in graph.cells if cell.step is None})
        ),
    )
