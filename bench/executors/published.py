"""What of a plan's trainings differs widely from what was published. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from bench.executors.plan import Plan
from bench.published import Entry, backbones, entries
from bench.spec.profile import Profile
from bench.steps.data import PairStep
from bench.steps.graph import Graph
from bench.steps.training import TrainingStep

_FAR = 2.0
"""Pairs or epochs that differ by more than this factor are named."""


def far_from_published(graph: Graph, plan: Plan, profile: Profile) -> Iterator[str]:
    """Yield a line for each training to do whose pairs or epochs are far from the published ones.

    Looked at are methods with settings published for the backbone that the profile's base is, and
    of them those whose number of pairs is known.
    """
    named = _backbone(profile)
    for planned in plan.to_do:
        step = graph[planned.id]
        if named is None or not isinstance(step, TrainingStep):
            continue
        entry = entries(step.method).get(named)
        data = graph[step.upstream["pairs"]]
        if entry is None or entry.pair_count is None or not isinstance(data, PairStep):
            continue
        told = _told(step, data.pairs or 0, entry)
        if told:
            yield f"{step.label}: {told}"


def _told(step: TrainingStep, pairs: int, entry: Entry) -> str:
    published = int(entry.pair_count or 0)
    stage = next((s for s in entry.stages if s.name == (step.stage or "")), entry.stages[0])
    visits = step.train.steps * step.train.batch
    there = f"published: {published:,} pairs, {stage.steps * stage.batch / published:.2g} epochs"
    if pairs == 0:
        return f"the number of pairs is not known; {there}"
    epochs = visits / pairs
    ratios = (pairs / published, epochs / (stage.steps * stage.batch / published))
    if all(1 / _FAR <= ratio <= _FAR for ratio in ratios):
        return ""
    return f"{pairs:,} pairs, {epochs:.2g} epochs; {there}"


def _backbone(profile: Profile) -> str | None:
    base = profile.checkpoint
    for name, backbone in backbones().items():
        if base.kind == "hub" and backbone.checkpoint == base.location:
            return name
    return None
