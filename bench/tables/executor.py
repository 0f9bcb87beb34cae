"""Makes the nodes of a graph: in this process, or in a few worker processes beside each other.

A node is started when all it is made from is there, those with the longest way ahead first. A
failed node fails what is made from it; everything else still runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.api.errors import BenchError
from bench.store import Store
from bench.tables.making import Runtime
from bench.tables.nodes import Graph, Node
from bench.tables.pool import Pool
from bench.tables.worker import failure_of, make_node, use_one_thread

LOG = logging.getLogger("bench.tables")

EventKind = Literal["started", "progress", "done", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a node; `seconds` since it started; `done` of `total` parts."""

    kind: EventKind
    node: Node
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a node is not there.

    Attributes:
        message: what happened.
        exit_code: of the command, by the kind of error.
        cause: id of the node whose failure it follows from; its own id where it failed itself.
        trace: the traceback of an unexpected error.
    """

    message: str
    exit_code: int
    cause: str
    trace: str | None = None


@dataclass(kw_only=True)
class Outcome:
    """What a run left: ids made, failures by id."""

    made: list[str] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0; 3 when nothing but prerequisites is missing; else 1."""
        codes = {f.exit_code for key, f in self.failures.items() if f.cause == key}
        return (codes.pop() if codes == {3} else 1) if codes else 0


Listener = Callable[[Event], None]


def complete_nodes(graph: Graph, targets: Sequence[str], store: Store) -> set[str]:
    """Return the complete ones of the targets and, beneath the incomplete ones, of the rest."""
    complete: set[str] = set()
    queue, seen = list(targets), set(targets)
    while queue:
        node = graph[queue.pop()]
        if store.find(node.kind, node.name, node.identity):
            complete.add(node.id)
            continue
        fresh = [key for key in node.upstream.values() if key not in seen]
        seen.update(fresh)
        queue += fresh
    return complete


def run_graph(
    graph: Graph,
    targets: Sequence[str],
    store: Store,
    *,
    jobs: int,
    runtime: Mapping[str, Any] | None = None,
    listener: Listener = lambda _: None,
    complete: set[str] | None = None,
) -> Outcome:
    """Make the targets and what they need.

    Args:
        graph: the nodes.
        targets: ids wanted.
        store: where artifacts are.
        jobs: worker processes; with 1 all is done in this process.
        runtime: fields of `Runtime`.
        listener: told of every event.
        complete: what `complete_nodes` returned, where it was called already.

    Raises:
        KeyboardInterrupt: after all workers have ended.
    """
    known = complete_nodes(graph, targets, store) if complete is None else complete
    needed = graph.needed(targets, known)
    schedule = _Schedule(graph, needed, known)
    if not needed:
        return schedule.outcome
    if jobs <= 1 or len(needed) == 1:
        _run_here(schedule, store, Runtime(**(runtime or {})), listener)
    else:
        _run_in_workers(schedule, store, min(jobs, len(needed)), dict(runtime or {}), listener)
    return schedule.outcome


class _Schedule:
    """Which nodes are waiting, ready, done or failed."""

    def __init__(self, graph: Graph, needed: set[str], complete: set[str]) -> None:
        self.graph = graph
        self.needed = set(needed)
        self.complete = set(complete)
        self.running: set[str] = set()
        self.outcome = Outcome()
        self._priority = graph.remaining_seconds()
        self._below = graph.downstream()
        self._remade: set[str] = set()

    def next(self) -> Node | None:
        """Take the ready node with the longest way ahead; None where none is ready now."""
        ready = [
            key
            for key in self.needed - self.running
            if all(up in self.complete for up in self.graph[key].upstream.values())
        ]
        if not ready:
            return None
        key = max(ready, key=lambda k: (self._priority[k], k))
        self.running.add(key)
        return self.graph[key]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.needed

    def done(self, node: Node) -> None:
        """A node was made."""
        self._settle(node.id)
        self.complete.add(node.id)
        self.outcome.made.append(node.id)

    def failed(
        self, node: Node, failure: Mapping[str, Any], store: Store, listener: Listener
    ) -> bool:
        """A node failed. Returns False where it will be tried again on upstream made anew."""
        if self._remake(node, failure, store):
            return False
        LOG.debug("%s failed: %s", node.id, failure)
        self._settle(node.id)
        own = Failure(
            message=failure["message"],
            exit_code=failure["exit_code"],
            cause=node.id,
            trace=failure["trace"],
        )
        self.outcome.failures[node.id] = own
        queue = list(self._below[node.id])
        while queue:
            key = queue.pop()
            if key in self.needed:
                self._settle(key)
                message = f"not made, because {node.label or node.id} failed"
                self.outcome.failures[key] = Failure(
                    message=message, exit_code=own.exit_code, cause=node.id
                )
                listener(Event(kind="skipped", node=self.graph[key], message=message))
                queue += self._below[key]
        return True

    def _settle(self, key: str) -> None:
        self.needed.discard(key)
        self.running.discard(key)

    def _remake(self, node: Node, failure: Mapping[str, Any], store: Store) -> bool:
        """Where an artifact it reads is damaged: remove that one, and make both again, once."""
        if failure.get("damaged") is None:
            return False
        path = Path(failure["damaged"])
        damaged = f"{path.parent.name}/{path.name}"
        if damaged not in self.graph or damaged in self._remade or damaged == node.id:
            return False
        self._remade.add(damaged)
        store.remove(path)
        self.complete.discard(damaged)
        found = complete_nodes(self.graph, [damaged], store)
        self.needed |= self.graph.needed([damaged], found)
        self.complete |= found
        self.running.discard(node.id)
        return True


def _run_here(schedule: _Schedule, store: Store, runtime: Runtime, listener: Listener) -> None:
    from dataclasses import replace

    use_one_thread()
    while (node := schedule.next()) is not None:
        began = time.monotonic()
        listener(Event(kind="started", node=node))

        def progress(done: int, total: int, node: Node = node, began: float = began) -> None:
            seconds = time.monotonic() - began
            listener(Event(kind="progress", node=node, seconds=seconds, done=done, total=total))

        try:
            make_node(node, store, replace(runtime, progress=progress))
        except Exception as error:
            _tell_failure(schedule, node, failure_of(error), store, listener, began)
        else:
            schedule.done(node)
            listener(Event(kind="done", node=node, seconds=time.monotonic() - began))


def _run_in_workers(
    schedule: _Schedule, store: Store, jobs: int, runtime: dict[str, Any], listener: Listener
) -> None:
    began: dict[str, float] = {}
    with Pool(jobs, store=store.root, runtime=runtime) as pool:
        while not schedule.finished:
            while pool.idle and (node := schedule.next()) is not None:
                began[node.id] = time.monotonic()
                listener(Event(kind="started", node=node))
                pool.start(node)
            if not schedule.running:
                raise BenchError(f"nothing can be made of {sorted(schedule.needed)}")
            node, message = pool.wait()
            seconds = time.monotonic() - began[node.id]
            if message["event"] == "progress":
                part = {"done": message["done"], "total": message["total"]}
                listener(Event(kind="progress", node=node, seconds=seconds, **part))
            elif message["event"] == "done":
                schedule.done(node)
                listener(Event(kind="done", node=node, seconds=seconds))
            else:
                _tell_failure(schedule, node, message, store, listener, began[node.id])


def _tell_failure(
    schedule: _Schedule,
    node: Node,
    failure: Mapping[str, Any],
    store: Store,
    listener: Listener,
    began: float,
) -> None:
    seconds = time.monotonic() - began
    if schedule.failed(node, failure, store, listener):
        listener(Event(kind="failed", node=node, seconds=seconds, message=failure["message"]))
