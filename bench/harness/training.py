"""One training by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from bench.api.errors import UsageError, did_you_mean
from bench.api.registry import DEFAULT_PROFILE
from bench.executors.estimate import TrainingEstimate as TrainingEstimate
from bench.executors.estimate import training_estimates
from bench.generation.checkpoint import export_folder
from bench.harness.parts import Setting, finish
from bench.harness.repairs import with_repairs
from bench.harness.work import TrainingOptions, Work
from bench.spec.added import method_row
from bench.spec.table import PAIRINGS, RowSpec
from bench.steps.builder import GraphBuilder
from bench.steps.training import add_training
from bench.store import Artifact


@dataclass(frozen=True, kw_only=True)
class Training:
    """What `train` returns.

    Attributes:
        artifact: as it is stored.
        settings: name and settings of the method.
        train: all training settings.
    """

    artifact: Artifact
    settings: Mapping[str, Any]
    train: Mapping[str, Any]

    @property
    def id(self) -> str:
        """`train/NAME-HASH`, which `generate` takes as a checkpoint."""
        return self.artifact.id

    @cached_property
    def export(self) -> Path:
        """The folder of its last weights."""
        return export_folder(self.artifact)

    @property
    def start(self) -> Any:
        """What it started from, where that was named."""
        return self.artifact.manifest["notes"].get("start")


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What `train` would do.

    Attributes:
        trainings: one per stage, in order.
        missing: what is missing on this machine, with the command that gets it.
    """

    trainings: tuple[TrainingEstimate, ...]
    missing: tuple[str, ...]


def train(
    method: str,
    profile: str = DEFAULT_PROFILE,
    *,
    seed: int = 0,
    stage: str | None = None,
    start_from: str | None = None,
    data: str | None = None,
    pairs: str = "standard",
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
    **how: Unpack[TrainingOptions],
) -> Training:
    """Train one method, or continue what was interrupted; what is there is not trained again.

    Args:
        method: a name, `pkg.mod:Class` or `file.py:Class`.
        profile: a shipped name, or the path of a YAML file.
        seed: training seed.
        stage: end with this stage of the method.
        start_from: in place of the base: `train/...`, a method, or a folder or hub id of a
            pipeline, a network or a LoRA.
        data: a data set that the profile names.
        pairs: `"standard"`, or a control of `bench.spec.table.PAIRINGS`.
        overrides: changes to the profile, `"training.common.steps=20"`.
        protocol: in place of the profile's own.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
        how: jobs, gpus, device, ranks, executor, ray_address, on_event, as in `bench.harness.run`.

    Raises:
        UsageError: something is unknown, or nothing reads one of `overrides`.
        PrerequisiteError: the checkpoint or the prompts are missing.
        FailedError: the training, or something it needs, failed.
    """
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )
    row = _row(method, pairs=pairs, data=data, start=start_from)
    work = Work(**how)

    def action() -> Training:
        builder, key = _built(setting, row, seed, stage)
        artifact, identity = finish(builder, key, work), builder.graph[key].identity
        return Training(
            artifact=artifact, settings=identity["method"]["config"], train=identity["train"]
        )

    return with_repairs(action)


def plan_training(
    method: str,
    profile: str = DEFAULT_PROFILE,
    *,
    seed: int = 0,
    stage: str | None = None,
    start_from: str | None = None,
    data: str | None = None,
    pairs: str = "standard",
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
    ranks: int = 1,
) -> TrainingPlan:
    """Return what `train` would cost; starts nothing.

    Args and errors are those of `train`.
    """
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )
    row = _row(method, pairs=pairs, data=data, start=start_from)
    builder, key = _built(setting, row, seed, stage)
    return TrainingPlan(
        trainings=tuple(training_estimates(builder, key, ranks)),
        missing=tuple(str(error) for error in builder.missing.values()),
    )


def _built(
    setting: Setting, row: RowSpec, seed: int, stage: str | None
) -> tuple[GraphBuilder, str]:
    return setting.built(lambda builder: add_training(builder, row, seed, until=stage))


def _row(method: str, *, pairs: str, data: str | None, start: str | None) -> RowSpec:
    """Return what is asked for as a row (UsageError: it is unknown)."""
    if pairs not in PAIRINGS:
        raise UsageError(f"unknown pairs {pairs!r}.{did_you_mean(pairs, PAIRINGS)}")
    row = method_row(method)
    parts = [row.key]
    parts += [] if pairs == "standard" else [pairs]
    parts += [f"on-{data}"] if data else []
    parts += ["continued"] if start else []
    return replace(row, key="-".join(parts), pairs=pairs, data=data, start=start)
