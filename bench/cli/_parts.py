"""What `train`, `generate` and `score` share: one part of a table's graph by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli._execute import execute
from bench.cli._request import device_of, job_count, no_bars

if TYPE_CHECKING:
    from bench.steps.builder import GraphBuilder
    from bench.store import Store


def open_source(args: argparse.Namespace, store: Store) -> GraphBuilder:
    """Return an empty graph over the profile of the arguments.

    Raises:
        UsageError: the profile is unknown or wrong.
    """
    no_bars()
    from bench.spec.profile import load_profile
    from bench.steps.builder import GraphBuilder
    from bench.steps.graph import Graph

    profile = load_profile(args.profile, overrides=args.overrides, protocol=args.protocol)
    return GraphBuilder(profile=profile, store=store, graph=Graph())


def finish(args: argparse.Namespace, source: GraphBuilder, targets: Sequence[str]) -> int:
    """Make the targets and return the exit code.

    Raises:
        PrerequisiteError: the checkpoint or the prompts are missing.
    """
    from bench.cli.run import report_failures

    for error in source.missing.values():
        raise error
    graph, profile = source.graph, source.profile
    device = device_of(args, profile.device)
    outcome, _ = execute(
        args,
        graph,
        targets,
        source.store,
        jobs=job_count(args, device),
        runtime={
            "device": device,
            "generation_batch": profile.batch_size("generation"),
            "prediction_batch": profile.batch_size("prediction"),
        },
    )
    report_failures(outcome, graph)
    return outcome.exit_code
