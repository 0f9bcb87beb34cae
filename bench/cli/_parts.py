"""What `train`, `generate` and `score` share: one part of a table's graph by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli._request import device_of, job_count, no_bars

if TYPE_CHECKING:
    from bench.store import Store
    from bench.tables.images import ImageSource


def open_source(args: argparse.Namespace, store: Store) -> ImageSource:
    """Return an empty graph over the profile of the arguments.

    Raises:
        UsageError: the profile is unknown or wrong.
    """
    no_bars()
    from bench.tables.images import ImageSource
    from bench.tables.nodes import Graph
    from bench.tables.profile import load_profile

    profile = load_profile(args.profile, overrides=args.overrides, protocol=args.protocol)
    return ImageSource(profile=profile, store=store, graph=Graph())


def finish(args: argparse.Namespace, source: ImageSource, targets: Sequence[str]) -> int:
    """Make the targets and return the exit code.

    Raises:
        PrerequisiteError: the checkpoint or the prompts are missing.
    """
    from bench.cli._progress import Progress
    from bench.cli.run import report_failures
    from bench.tables.executor import complete_nodes, run_graph

    for error in source.missing.values():
        raise error
    graph, profile = source.graph, source.profile
    complete = complete_nodes(graph, targets, source.store)
    needed = graph.needed(targets, complete)
    device = device_of(args, profile.device)
    jobs = max(1, min(job_count(args, device), len(needed)))
    progress = Progress({k: graph[k].seconds for k in needed}, jobs=jobs, quiet=args.quiet)
    try:
        outcome = run_graph(
            graph,
            targets,
            source.store,
            jobs=jobs,
            runtime={
                "device": device,
                "generation_batch": profile.batch_size("generation"),
                "prediction_batch": profile.batch_size("prediction"),
            },
            listener=progress,
            complete=complete,
        )
    finally:
        progress.clear()
    report_failures(outcome, graph)
    return outcome.exit_code
