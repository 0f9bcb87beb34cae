"""Makes the steps of a graph: in this process, or in worker processes, one or a few at a time.

A step is never made where plug-ins that are not its own were imported (`bench.executors.plugins`).

A step is started when all it is made from is there, those with the longest way ahead first. A
failed step fails what is made from it; everything else still runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError
from bench.api.exits import is_users
from bench.executors.outcome import Failure, Listener, Outcome, Tally, ignore
from bench.executors.plugins import may_be_made_here
from bench.executors.pool import Pool
from bench.executors.worker import failure_of, make_step, one_thread, require_sources
from bench.steps.graph import Graph
from bench.steps.step import Runtime, Step, StoredStep
from bench.store import FOUND, MANIFEST, Store, nobody_makes, state_of

LOG = logging.getLogger("bench.executors")


def with_damaged(graph: Graph, targets: Sequence[str], store: Store) -> list[str]:
    """Return the targets, and what this process found damaged and the graph can make anew."""
    root = store.root.absolute()
    found = {f"{p.parent.name}/{p.name}" for p in FOUND if p.absolute().parents[1] == root}
    return list(dict.fromkeys([*targets, *sorted(key for key in found if key in graph)]))


def complete_steps(graph: Graph, targets: Sequence[str], store: Store) -> set[str]:
    """Return the complete ones of the targets and, beneath the incomplete ones, of the rest.

    What was found damaged counts as a target.
    """
    targets = with_damaged(graph, targets, store)
    complete: set[str] = set()
    queue, seen = list(targets), set(targets)
    while queue:
        step = graph[queue.pop()]
        if store.find(step.kind, step.name, step.identity):
            complete.add(step.id)
            continue
        fresh = [key for key in step.upstream.values() if key not in seen]
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
    listener: Listener = ignore,
    complete: set[str] | None = None,
) -> Outcome:
    """Make the targets and what they need.

    Args:
        graph: the steps.
        targets: ids wanted.
        store: where artifacts are.
        jobs: worker processes; with 1 all is done in this process, unless plug-ins keep steps
            apart: then one process at a time.
        runtime: fields of `Runtime`.
        listener: told of every event.
        complete: what `complete_steps` returned, where it was called already.

    Raises:
        KeyboardInterrupt: after all workers have ended.
    """
    targets = with_damaged(graph, targets, store)
    known = complete_steps(graph, targets, store) if complete is None else complete
    needed = graph.needed(targets, known)
    schedule = _Schedule(graph, needed, known)
    if not needed:
        return schedule.outcome
    jobs = min(jobs, len(needed))
    seconds = {key: graph[key].seconds for key in needed}
    tally = Tally(seconds, jobs=max(jobs, 1), listener=listener)
    if jobs <= 1 and may_be_made_here(graph[key] for key in needed):
        with one_thread():
            _run_here(schedule, store, Runtime(**(runtime or {})), tally)
    else:
        _run_in_workers(schedule, store, max(jobs, 1), dict(runtime or {}), tally)
    return schedule.outcome


class _Schedule:
    """Which steps are waiting, ready, done or failed."""

    def __init__(self, graph: Graph, needed: set[str], complete: set[str]) -> None:
        self.graph = graph
        self.needed = set(needed)
        self.complete = set(complete)
        self.running: set[str] = set()
        self.outcome = Outcome()
        self._priority = graph.remaining_seconds()
        self._below = {key: list(below) for key, below in graph.downstream().items()}
        self._waits: dict[str, set[str]] = {}
        self._remade: set[str] = set()
        self._tried_again: dict[tuple[str, str], int | None] = {}

    def next(self, suits: Callable[[Step], bool] = lambda _: True) -> Step | None:
        """Take the ready step with the longest way ahead; None where none is ready now.

        One that suits an idle worker comes before the others.
        """
        ready = [key for key in self.needed - self.running if self._upstream(key) <= self.complete]
        if not ready:
            return None
        key = max(ready, key=lambda k: (suits(self.graph[k]), self._priority[k], k))
        self.running.add(key)
        return self.graph[key]

    def _upstream(self, key: str) -> set[str]:
        return {*self.graph[key].upstream.values(), *self._waits.get(key, ())}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.needed

    def require_finished(self) -> None:
        """Raise BenchError where something is left that is neither made nor failed."""
        if self.needed:
            raise BenchError(f"nothing can be made of {sorted(self.needed)}")

    def done(self, step: Step) -> None:
        """A step was made."""
        self._settle(step.id)
        self.complete.add(step.id)
        self.outcome.made.append(step.id)

    def failed(self, step: Step, failure: Mapping[str, Any], store: Store, tally: Tally) -> bool:
        """A step failed. Returns False where it will be tried again on upstream made anew."""
        if self._remake(step, failure, store):
            return False
        LOG.debug("%s failed: %s", step.id, failure)
        failure = self._final(step, failure)
        self._settle(step.id)
        own = Failure(
            message=failure["message"],
            exit_code=failure["exit_code"],
            cause=step.id,
            trace=failure["trace"],
        )
        self.outcome.failures[step.id] = own
        queue = list(self._below[step.id])
        while queue:
            key = queue.pop()
            if key in self.needed:
                self._settle(key)
                message = f"not made, because {step.label or step.id} failed"
                self.outcome.failures[key] = Failure(
                    message=message, exit_code=own.exit_code, cause=step.id
                )
                tally.tell("skipped", self.graph[key], message=message)
                queue += self._below[key]
        return True

    def _settle(self, key: str) -> None:
        self.needed.discard(key)
        self.running.discard(key)

    def _remake(self, step: Step, failure: Mapping[str, Any], store: Store) -> bool:
        """Where an artifact it reads is damaged: let that be made anew, and the step again, once.

        An artifact of the graph is removed and made by its step. Another one is marked, so that
        whatever makes it inside the step makes it anew.
        """
        if failure.get("damaged") is None:
            return self._again_after_upstream(step)
        path = Path(failure["damaged"])
        damaged = f"{path.parent.name}/{path.name}"
        if damaged == step.id or (step.id, damaged) in self._tried_again:
            return False
        if damaged in self.graph and isinstance(self.graph[damaged], StoredStep):
            return False
        self._tried_again[step.id, damaged] = state_of(path)
        if damaged not in self.graph:
            LOG.warning("%s; it is made anew", failure["message"].partition("\n")[0])
        elif damaged not in self.needed and damaged not in self._remade:
            self._remade.add(damaged)
            self._waits.setdefault(step.id, set()).add(damaged)
            self._below[damaged].append(step.id)
            store.remove(path)
            self.complete.discard(damaged)
            found = complete_steps(self.graph, [damaged], store)
            self.needed |= self.graph.needed([damaged], found)
            self.complete |= found
        self.running.discard(step.id)
        return True

    def _again_after_upstream(self, step: Step) -> bool:
        """Whether a step failed while something it reads was being made anew: once more, then."""
        if self._upstream(step.id) <= self.complete or (step.id, "") in self._tried_again:
            return False
        self._tried_again[step.id, ""] = None
        self.running.discard(step.id)
        return True

    def _final(self, step: Step, failure: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the failure as it is told: what nobody here makes anew is a prerequisite."""
        if failure.get("damaged") is None:
            return failure
        path = Path(failure["damaged"])
        damaged = f"{path.parent.name}/{path.name}"
        before = self._tried_again.get((step.id, damaged), -1)
        here = damaged in self.graph and isinstance(self.graph[damaged], StoredStep)
        if not here and before != state_of(path):
            return failure  # it was made anew, and damaged again
        reason = failure["message"].partition("\n")[0]
        error = nobody_makes(path, reason)
        return {**failure, "message": str(error), "exit_code": error.exit_code}


def _run_here(schedule: _Schedule, store: Store, runtime: Runtime, tally: Tally) -> None:
    while (step := schedule.next()) is not None:
        began = time.monotonic()
        tally.tell("started", step)

        def progress(done: int, total: int, step: Step = step, began: float = began) -> None:
            seconds = time.monotonic() - began
            tally.tell("progress", step, seconds=seconds, done=done, total=total)

        try:
            make_step(step, store, replace(runtime, progress=progress))
        except BaseException as error:
            if is_users(error):
                raise
            _tell_failure(schedule, step, failure_of(error, step), store, tally, began)
        else:
            _tell_done(schedule, step, store, tally, began)
    schedule.require_finished()


def _run_in_workers(
    schedule: _Schedule, store: Store, jobs: int, runtime: dict[str, Any], tally: Tally
) -> None:
    began: dict[str, float] = {}
    with Pool(jobs, store=store.root, runtime=runtime) as pool:
        while not schedule.finished:
            while pool.idle and (step := schedule.next(pool.suits)) is not None:
                began[step.id] = time.monotonic()
                tally.tell("started", step)
                try:
                    require_sources(step)  # this process made the graph, with what it has loaded
                except BenchError as error:
                    failure = failure_of(error, step)
                    _tell_failure(schedule, step, failure, store, tally, began[step.id])
                else:
                    pool.start(step)
            if not schedule.running:
                schedule.require_finished()
                break
            step, message = pool.wait()
            seconds = time.monotonic() - began[step.id]
            if message["event"] == "progress":
                part = {"done": message["done"], "total": message["total"]}
                tally.tell("progress", step, seconds=seconds, **part)
            elif message["event"] == "done":
                _tell_done(schedule, step, store, tally, began[step.id])
            else:
                _tell_failure(schedule, step, message, store, tally, began[step.id])


def _tell_done(schedule: _Schedule, step: Step, store: Store, tally: Tally, began: float) -> None:
    if not (store.root / step.id / MANIFEST).is_file():
        message = f"{type(step).__name__} ended without an error, and {step.id} is not in the store"
        failure = {"message": message, "exit_code": 1, "damaged": None, "trace": None}
        _tell_failure(schedule, step, failure, store, tally, began)
        return
    schedule.done(step)
    tally.tell("done", step, seconds=time.monotonic() - began)


def _tell_failure(
    schedule: _Schedule,
    step: Step,
    failure: Mapping[str, Any],
    store: Store,
    tally: Tally,
    began: float,
) -> None:
    seconds = time.monotonic() - began
    if schedule.failed(step, failure, store, tally):
        message = schedule.outcome.failures[step.id].message
        tally.tell("failed", step, seconds=seconds, message=message)
