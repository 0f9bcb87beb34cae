"""What `train`, `generate` and `score` share: one part of a table's graph by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import BenchError
from bench.api.registry import DEFAULT_PROFILE
from bench.executors.outcome import Outcome
from bench.harness.sets import require_part_sets
from bench.harness.work import Work, execute
from bench.spec.profile import Profile, load_profile
from bench.steps.builder import GraphBuilder
from bench.steps.graph import Graph
from bench.store import Artifact, Store

LOG = logging.getLogger("bench.harness")


class FailedError(BenchError):
    """What was asked for could not be made.

    Attributes:
        outcome: what was made, and every failure with its cause.
        graph: the steps.
    """

    def __init__(self, outcome: Outcome, graph: Graph) -> None:
        super().__init__("\n".join(f"failed: {line}" for line in failure_lines(outcome, graph)))
        self.outcome = outcome
        self.graph = graph
        self.exit_code = outcome.exit_code


def failure_lines(outcome: Outcome, graph: Graph) -> list[str]:
    """Return a line for each step that failed itself: which, why, and what depends on it."""
    lines = []
    for key, failure in outcome.causes.items():
        after = outcome.dependents(key)
        rest = f" ({after} more depend on it)" if after else ""
        lines.append(f"{graph[key].label or key}: {failure.message}{rest}")
    return lines


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a part is made, and by which settings.

    Attributes:
        profile: a shipped name, or the path of a YAML file.
        overrides: changes to it, `"generation.steps=4"`.
        protocol: in place of the profile's own.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
    """

    profile: str = DEFAULT_PROFILE
    overrides: Sequence[str] = ()
    protocol: str | None = None
    trust: bool = False
    store: Path | str = "outputs"

    def builder(self) -> GraphBuilder:
        """Return an empty graph.

        Raises:
            UsageError: the profile is unknown or wrong.
        """
        return GraphBuilder(
            profile=self._profile(self.overrides), store=Store(Path(self.store)), graph=Graph()
        )

    def built(self, build: Callable[[GraphBuilder], str]) -> tuple[GraphBuilder, str]:
        """Return a graph with what `build` adds to an empty one, and the id that it returned.

        Raises:
            UsageError: the profile is unknown or wrong, or nothing reads one of `overrides`.
        """
        builder = self.builder()
        key = build(builder)
        require_part_sets(self._profile, self.overrides, builder, build)
        return builder, key

    def _profile(self, overrides: Sequence[str]) -> Profile:
        return load_profile(
            self.profile, overrides=overrides, protocol=self.protocol, trust=self.trust
        )


def finish(builder: GraphBuilder, key: str, work: Work) -> Artifact:
    """Make a step of a graph, and all it needs; return its artifact.

    Raises:
        PrerequisiteError: the checkpoint or the prompts are missing.
        FailedError: it, or something it needs, failed.
    """
    for error in builder.missing.values():
        raise error
    outcome = execute(builder.graph, [key], builder.store, work, builder.profile)
    if outcome.failures:
        for failure in outcome.causes.values():
            LOG.debug("%s", failure.trace or failure.message)
        raise FailedError(outcome, builder.graph)
    return builder.store.get(key)
