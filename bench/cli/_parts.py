"""What `train`, `generate` and `score` share: one part of a table's graph by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli._progress import report_failures, shown_work
from bench.cli._request import no_bars

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

    profile = load_profile(
        args.profile, overrides=args.overrides, protocol=args.protocol, trust=args.trust
    )
    return GraphBuilder(profile=profile, store=store, graph=Graph())


def finish(args: argparse.Namespace, source: GraphBuilder, targets: Sequence[str]) -> int:
    """Make the targets and return the exit code.

    Raises:
        PrerequisiteError: the checkpoint or the prompts are missing.
    """
    from bench.harness.work import execute

    for error in source.missing.values():
        raise error
    with shown_work(args) as work:
        outcome = execute(source.graph, targets, source.store, work, source.profile)
    report_failures(outcome, source.graph)
    return outcome.exit_code
