"""Which steps of a graph are waiting, ready, done or failed, and which comes next.

What is ready lies in heaps, one for each set of plug-ins that steps are made with: taking the next
step and settling one cost the logarithm of their number, so a graph of thousands takes no time of
its own.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.api.errors import BenchError
from bench.api.exits import Fault
from bench.executors.outcome import Failure, Outcome, Tally
from bench.executors.plugins import plugins_of
from bench.steps.graph import Graph
from bench.steps.step import Step, StoredStep
from bench.store import FOUND, Store, nobody_makes, state_of

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


class Schedule:
    """The steps of one run.

    Args:
        graph: all steps.
        needed: ids to be made.
        complete: ids that are there.

    Attributes:
        outcome: what was made and what failed, up to now.
        running: ids of what was taken and is not settled.
    """

    def __init__(self, graph: Graph, needed: set[str], complete: set[str]) -> None:
        self.graph = graph
        self.needed = set(needed)
        self.complete = set(complete)
        self.running: set[str] = set()
        self.outcome = Outcome()
        urgency = graph.remaining_seconds()
        self._order = sorted(urgency, key=lambda key: (urgency[key], key), reverse=True)
        self._rank = {key: rank for rank, key in enumerate(self._order)}
        self._below = {key: list(below) for key, below in graph.downstream().items()}
        self._lacks: dict[str, set[str]] = {}
        self._ready: dict[frozenset[str], list[int]] = {}
        self._waits: dict[str, set[str]] = {}
        self._remade: set[str] = set()
        self._tried_again: dict[tuple[str, str], int | None] = {}
        self._look_at(self.needed)

    def next(self, suits: Callable[[Step], bool] = lambda _: True) -> Step | None:
        """Take the ready step with the longest way ahead; None where none is ready now.

        One that suits an idle worker comes before the others; `suits` is asked of one step of
        those that are made with the same plug-ins, and holds for all of them.
        """
        first: tuple[bool, int] | None = None
        for plugins in list(self._ready):
            rank = self._first_of(plugins)
            if rank is None:
                continue
            found = (not suits(self.graph[self._order[rank]]), rank)
            first = found if first is None else min(first, found)
        if first is None:
            return None
        step = self.graph[self._order[first[1]]]
        heapq.heappop(self._ready[plugins_of(step)])
        self.running.add(step.id)
        return step

    def _first_of(self, plugins: frozenset[str]) -> int | None:
        """Return the rank of the most urgent ready step of some plug-ins, None where all are taken.

        Of what lies in the heap, some was settled since, or waits for what is made anew.
        """
        heap = self._ready[plugins]
        while heap:
            key = self._order[heap[0]]
            if key in self.needed and key not in self.running and not self._lacking(key):
                return heap[0]
            heapq.heappop(heap)
        del self._ready[plugins]
        return None

    def _look_at(self, keys: Iterable[str]) -> None:
        """Put those of the steps that wait for nothing among the ready ones."""
        for key in keys:
            if not self._lacking(key):
                heap = self._ready.setdefault(plugins_of(self.graph[key]), [])
                heapq.heappush(heap, self._rank[key])

    def _lacking(self, key: str) -> set[str]:
        """Return, and remember, what a step is made from and is not there."""
        self._lacks[key] = self._upstream(key) - self.complete
        return self._lacks[key]

    def _upstream(self, key: str) -> set[str]:
        return {*self.graph[key].upstream.values(), *self._waits.get(key, ())}

    def _arrived(self, made: str) -> None:
        """Something is there: what lacked it alone is ready."""
        self.complete.add(made)
        for key in self._below[made]:
            lacks = self._lacks.get(key)
            if lacks is not None and made in lacks:
                lacks.remove(made)
                if not lacks and key in self.needed:
                    self._look_at([key])

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
        self._arrived(step.id)
        self.outcome.made.append(step.id)

    def failed(self, step: Step, failure: Fault, store: Store, tally: Tally) -> bool:
        """A step failed. Returns False where it will be tried again on upstream made anew."""
        if self._remake(step, failure, store):
            return False
        LOG.debug("%s failed: %s", step.id, failure)
        failure = self._final(step, failure)
        self._settle(step.id)
        own = Failure(
            message=failure.message,
            exit_code=failure.exit_code,
            cause=step.id,
            trace=failure.trace,
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

    def _remake(self, step: Step, failure: Fault, store: Store) -> bool:
        """Where an artifact it reads is damaged: let that be made anew, and the step again, once.

        An artifact of the graph is removed and made by its step. Another one is marked, so that
        whatever makes it inside the step makes it anew.
        """
        if failure.damaged is None:
            return self._again_after_upstream(step)
        path = Path(failure.damaged)
        damaged = f"{path.parent.name}/{path.name}"
        if damaged == step.id or (step.id, damaged) in self._tried_again:
            return False
        if damaged in self.graph and isinstance(self.graph[damaged], StoredStep):
            return False
        self._tried_again[step.id, damaged] = state_of(path)
        if damaged not in self.graph:
            LOG.warning("%s; it is made anew", failure.message.partition("\n")[0])
        elif damaged not in self.needed and damaged not in self._remade:
            self._remade.add(damaged)
            self._waits.setdefault(step.id, set()).add(damaged)
            self._below[damaged].append(step.id)
            store.remove(path)
            self.complete.discard(damaged)
            found = complete_steps(self.graph, [damaged], store)
            again = self.graph.needed([damaged], found) - self.needed
            self.needed |= again
            for key in found - self.complete:
                self._arrived(key)
            self._look_at(again)
        self._put_back(step)
        return True

    def _again_after_upstream(self, step: Step) -> bool:
        """Whether a step failed while something it reads was being made anew: once more, then."""
        if self._upstream(step.id) <= self.complete or (step.id, "") in self._tried_again:
            return False
        self._tried_again[step.id, ""] = None
        self._put_back(step)
        return True

    def _put_back(self, step: Step) -> None:
        """A step was taken and is to be tried again."""
        self.running.discard(step.id)
        self._look_at([step.id])

    def _final(self, step: Step, failure: Fault) -> Fault:
        """Return the failure as it is told: what nobody here makes anew is a prerequisite."""
        if failure.damaged is None:
            return failure
        path = Path(failure.damaged)
        damaged = f"{path.parent.name}/{path.name}"
        before = self._tried_again.get((step.id, damaged), -1)
        here = damaged in self.graph and isinstance(self.graph[damaged], StoredStep)
        if not here and before != state_of(path):
            return failure  # it was made anew, and damaged again
        reason = failure.message.partition("\n")[0]
        error = nobody_makes(path, reason)
        return replace(failure, message=str(error), exit_code=error.exit_code)
