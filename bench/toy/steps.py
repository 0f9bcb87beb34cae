"""The toy's artifacts: a reference, and a method trained from it on N pairs a class. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.steps.step import Runtime, Step
from bench.store import Artifact, Store
from bench.toy.settings import FineTuning, PointSettings
from bench.training.config import TrainConfig

SAVED_NINTHS = 4
"""Checkpoints are taken after 4/9 and 8/9 of the steps and at the end."""


@dataclass(frozen=True, kw_only=True)
class ToyReferenceStep(Step):
    """A reference to be made: `network/`, its samples and their metrics.

    Attributes:
        settings: of the toy.
        variant: `"learned"` from the noisy data, or `"exact"`.
        seed: of all its random numbers.
    """

    kind: str = "toy-reference"
    settings: PointSettings
    variant: str
    seed: int

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Make it; see `bench.toy.making.make_reference` for what is raised."""
        from bench.toy.making import make_reference

        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: make_reference(self, work, runtime),
            seeds={"training": self.seed},
        )


@dataclass(frozen=True, kw_only=True)
class ToyTrainingStep(Step):
    """A method to be trained with the harness's own loop, sampled and measured.

    Files: the last network under `exports/`, `metrics.jsonl` of the training (with the size of
    delta on the way), `trace.json`, the samples and their metrics.

    Attributes:
        settings: of the toy.
        finetune: how it is trained.
        method: registry name or path, with its `method_settings`.
        pairs_per_class: N.
        seed: of pairs, training and sampling.
    """

    kind: str = "toy-run"
    settings: PointSettings
    finetune: FineTuning
    method: str
    method_settings: Mapping[str, Any]
    pairs_per_class: int
    seed: int

    @cached_property
    def config(self) -> TrainConfig:
        """The training loop's settings."""
        return train_config(self.finetune, self.seed)

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Make it; see `bench.toy.making.make_training` for what is raised."""
        from bench.toy.making import make_training

        config = self.config
        earlier = [
            f"exports/step-{at:08d}/*" for at in range(1, config.steps) if config.saves_at(at)
        ]
        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: make_training(self, store, work, runtime),
            upstream=self.upstream,
            seeds={"training": self.seed},
            config=config.to_json(),
            exclude=("checkpoints/*", *earlier),
        )


def train_config(finetune: FineTuning, seed: int) -> TrainConfig:
    """Return the training loop's settings: those of any other run."""
    return TrainConfig(
        steps=finetune.steps,
        batch=finetune.batch,
        micro_batch=finetune.batch,
        lr=finetune.lr,
        weight_decay=0.0,
        seed=seed,
        save_every=finetune.steps * SAVED_NINTHS // 9,
        log_every=finetune.steps // 9,
        keep_checkpoints=1,
    )
