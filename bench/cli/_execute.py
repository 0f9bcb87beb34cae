"""Making what a verb needs of a graph, with progress; and making damaged artifacts anew."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import CorruptArtifactError

if TYPE_CHECKING:
    from bench.executors.local import Outcome
    from bench.steps.graph import Graph
    from bench.store import Store

LOG = logging.getLogger("bench.cli")


def execute(
    args: argparse.Namespace,
    graph: Graph,
    targets: Sequence[str],
    store: Store,
    *,
    jobs: int,
    runtime: Mapping[str, Any],
) -> tuple[Outcome, bool]:
    """Make the targets; return what happened, and whether all was there before.

    Args:
        args: of the verb, with `quiet`.
        graph: the nodes.
        targets: ids wanted.
        store: where artifacts are.
        jobs: worker processes, at most.
        runtime: fields of `bench.steps.making.Runtime`.
    """
    from bench.cli._progress import Progress
    from bench.executors.local import Outcome, complete_nodes, run_graph, with_damaged

    complete = complete_nodes(graph, targets, store)
    needed = graph.needed(with_damaged(graph, targets, store), complete)
    if not needed:
        return Outcome(), True
    jobs = min(jobs, len(needed))
    progress = Progress({key: graph[key].seconds for key in needed}, jobs=jobs, quiet=args.quiet)
    try:
        outcome = run_graph(
            graph,
            targets,
            store,
            jobs=jobs,
            runtime=runtime,
            listener=progress,
            complete=complete,
        )
    finally:
        progress.clear()
    return outcome, False


def with_repairs(verb: Callable[[], int]) -> int:
    """Run a verb; where it reads a damaged artifact, run it again, which makes that one anew.

    Raises:
        PrerequisiteError: the verb does not make the artifact.
        CorruptArtifactError: it was made anew and is damaged again.
    """
    seen: dict[Path, int | None] = {}
    while True:
        try:
            return verb()
        except CorruptArtifactError as error:
            from bench.store import FOUND, nobody_makes, state_of

            path = error.artifact_path
            if path is None or not path.is_dir():
                raise
            reason = str(error).partition("\n")[0].rstrip(".")
            if path in seen:
                if seen[path] != state_of(path):
                    raise  # it was made anew, and is damaged again
                raise nobody_makes(path, reason) from error
            seen[path] = state_of(path)
            FOUND.add(path)
            LOG.warning("%s; it is made anew", reason)
