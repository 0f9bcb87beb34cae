"""Long steps in parts, so that one cell keeps all workers at work. No torch.

The graph that a table is read off knows no parts: they are put in when it is known how many workers
there are, and what the executor leaves speaks of whole steps again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeGuard

from bench.executors.outcome import Failure, Outcome
from bench.steps.graph import Graph
from bench.steps.step import DivisibleStep, Runtime, Step

LEAST_SECONDS = 20.0
"""Estimated seconds of a part, at least: each loads its models anew."""

_SHARE = 1 / 8
"""A step is cut where it takes more than this share of what a worker has to do in all."""


@dataclass(frozen=True, kw_only=True)
class CutGraph:
    """A graph with parts in it.

    Attributes:
        graph: all steps, upstream first.
        parts: id of a part -> id of its whole.
    """

    graph: Graph
    parts: Mapping[str, str]

    def whole(self, outcome: Outcome) -> Outcome:
        """Return what a run left, of whole steps: a part that failed is its whole's failure."""
        failures: dict[str, Failure] = {}
        for key, failure in outcome.failures.items():
            cause = self.parts.get(failure.cause, failure.cause)
            own = self.parts.get(key, key)
            if key in self.parts or own not in failures:
                failures[own] = replace(failure, cause=cause)
        made = [key for key in outcome.made if key not in self.parts]
        return Outcome(made=made, failures=failures)


def cut_graph(graph: Graph, needed: set[str], *, workers: int, runtime: Runtime) -> CutGraph:
    """Return the graph with its long steps in parts, at most one a worker.

    Args:
        graph: the steps.
        needed: ids to be made.
        workers: processes that make them.
        runtime: has the sizes of batches.
    """
    total = sum(graph[key].seconds for key in needed)
    long = _SHARE * total / workers
    cut, parts = Graph(), dict[str, str]()
    for step in graph:
        if workers > 1 and step.id in needed and step.seconds > long and may_be_cut(step):
            most = math.floor(step.seconds / LEAST_SECONDS)
            shards = min(workers, most, step.batches(runtime)) if most > 1 else 1
            if shards > 1:
                pieces, step = step.cut(shards)
                for piece in pieces:
                    parts[cut.add(piece)] = step.id
        cut.add(step)
    return CutGraph(graph=cut, parts=parts)


def may_be_cut(step: Step) -> TypeGuard[DivisibleStep]:
    """Whether a step of this kind can be made in parts.

    What plug-ins read is seen where they work, and recorded with what that process made.
    """
    return isinstance(step, DivisibleStep) and not step.sources
