"""What a run would do: the state of each artifact, why, how long it takes, how much it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.executors.shards import may_be_cut
from bench.steps.cells import TableGraph
from bench.steps.step import Runtime
from bench.store import Store
from bench.store.listing import Listing

SHARED = "shared"


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
        kind: of artifact, the first part of the id.
        rows: keys of the rows whose cells need it.
        upstream: ids of what it is made from.
        ranks: processes that work at it at the same time; `seconds` are those of one.
    """

    id: str
    label: str
    state: str
    reason: str
    seconds: float
    bytes: int
    divisible: bool = False
    kind: str = ""
    rows: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would do.

    Attributes:
        steps: all, upstream first.
        missing: what is missing on this machine, with the command that gets it.
        not_measured: columns whose cells cannot be measured, each with the reason.
        times: how the seconds were estimated, where that is not the profile's own speed.
        notes: what else is to be known before it starts, a line each.
    """

    steps: tuple[Step, ...]
    missing: tuple[str, ...]
    not_measured: tuple[str, ...] = ()
    times: str = ""
    notes: tuple[str, ...] = ()

    @property
    def to_do(self) -> list[Step]:
        """The steps that a run would make."""
        return [step for step in self.steps if step.state not in ("cached", "not needed")]

    def seconds(self, jobs: int) -> float:
        """Return a rough time for `jobs` workers: all work shared, or the longest chain of steps
        that wait for each other, where that takes longer.
        """
        jobs = max(1, jobs)
        ends: dict[str, float] = {}
        for step in self.steps:
            own = step.seconds / (jobs if step.divisible else min(step.ranks, jobs))
            ends[step.id] = own + max((ends.get(key, 0.0) for key in step.upstream), default=0.0)
        return max(max(ends.values(), default=0.0), self.worker_seconds / jobs)

    @property
    def worker_seconds(self) -> float:
        """Seconds of one worker, or GPU, in all."""
        return sum(step.seconds for step in self.to_do)

    def by_kind(self) -> dict[str, float]:
        """Return the seconds of each kind of artifact, in the order of the work."""
        found: dict[str, float] = {}
        for step in self.to_do:
            found[step.kind] = found.get(step.kind, 0.0) + step.seconds
        return found

    def by_row(self) -> dict[str, float]:
        """Return the seconds that each row alone needs; what several share is under `shared`."""
        found: dict[str, float] = {}
        for step in self.to_do:
            (row,) = step.rows if len(step.rows) == 1 else (SHARED,)
            found[row] = found.get(row, 0.0) + step.seconds
        return found

    @property
    def bytes(self) -> int:
        """What would be written."""
        return sum(step.bytes for step in self.to_do)

    def peak_bytes(self, jobs: int) -> int:
        """Return the disk taken at the worst: what is made in parts lies there twice while it is
        put together.
        """
        twice = sorted(s.bytes for s in self.to_do if s.divisible or s.kind == "pairs")
        return self.bytes + sum(twice[-max(1, jobs) :])

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        from dataclasses import asdict

        return {
            "steps": [asdict(step) for step in self.steps],
            "missing": list(self.missing),
            "not_measured": list(self.not_measured),
            "times": self.times,
            "notes": list(self.notes),
            "seconds_by_kind": self.by_kind(),
            "seconds_by_row": self.by_row(),
        }


def make_plan(graph: TableGraph, store: Store, *, ranks: int = 1) -> Plan:
    """Return what a run of the graph would do. Changes nothing, imports no torch.

    Args:
        graph: of the table.
        store: what is there.
        ranks: processes that share each training.

    Raises:
        StoreError: the store cannot be read.
    """
    states, listing = {}, Listing(store.root)
    runtime = Runtime(ranks=ranks)
    for step in graph.graph:
        states[step.id] = store.status(step.kind, step.name, step.identity, listing=listing)
    complete = {key for key, status in states.items() if status.state == "complete"}
    needed = graph.graph.needed(graph.targets, complete)
    rows = _rows(graph)
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
                divisible=may_be_cut(step) and step.batches(runtime) > 1,
                kind=step.kind,
                rows=tuple(sorted(rows.get(step.id, ()))),
                upstream=tuple(step.upstream.values()),
                ranks=step.places(runtime),
            )
        )
    return Plan(
        steps=tuple(steps),
        missing=tuple(str(error) for error in graph.missing),
        not_measured=tuple(
            sorted({f"{cell.column}: {cell.reason}" for cell in graph.cells if cell.step is None})
        ),
        times=graph.times,
    )


def _rows(graph: TableGraph) -> dict[str, set[str]]:
    """Return the keys of the rows whose cells need each step."""
    found: dict[str, set[str]] = {}
    for cell in graph.cells:
        if cell.step is not None:
            found.setdefault(cell.step, set()).add(cell.row)
    for step in reversed(list(graph.graph)):
        for key in step.upstream.values():
            found.setdefault(key, set()).update(found.get(step.id, ()))
    return found
