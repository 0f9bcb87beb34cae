"""The toy's artifacts: a reference, and a method trained from it on N pairs a class. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.api.method import Method
from bench.steps.step import Runtime, Step
from bench.store import Artifact, Store, Work
from bench.toy.settings import FineTuning, PointSettings
from bench.training.config import ALL, TrainConfig

TRACE = "trace.json"
DPO_UNITS = 8
"""Network evaluations of a Diffusion-DPO step, in forwards of B samples: two of the reference,
two of the policy and their backwards, which count double."""
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
        """Make it.

        Raises:
            BenchError: its samples are further from the noisy data than the gate allows.
        """
        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: self._fill(work, runtime),
            seeds={"training": self.seed},
        )

    def _fill(self, work: Work, runtime: Runtime) -> None:
        from bench.toy.backbone import ToyBackbone, new_network
        from bench.toy.base import require_close, train_reference
        from bench.toy.metrics import measure
        from bench.toy.samples import NETWORK, draw, write_samples
        from bench.training.export import export_network

        settings, seed = self.settings, self.seed
        if self.variant == "exact":
            network = new_network(settings, exact=True, seed=seed)
        else:
            network = train_reference(settings, seed, runtime.progress)
        points = draw(ToyBackbone(settings, network), network, settings, seed)
        work.note("gate_energy_distance", require_close(points, settings, seed))
        export_network(network, work.path / NETWORK)
        values = measure(points, settings.ring, settings.sampling)
        energy = values["energy"]
        write_samples(work, points, {**values, "energy_best": energy, "energy_equal_cost": energy})


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
        """Make it.

        Raises:
            DivergedError: a NaN or an infinity.
        """
        config = self.config
        earlier = [
            f"exports/step-{at:08d}/*" for at in range(1, config.steps) if config.saves_at(at)
        ]
        return store.build(
            self.kind,
            self.name,
            self.identity,
            lambda work: self._fill(store, work, runtime),
            upstream=self.upstream,
            seeds={"training": self.seed},
            config=config.to_json(),
            exclude=("checkpoints/*", *earlier),
        )

    def _fill(self, store: Store, work: Work, runtime: Runtime) -> None:
        from bench.spec.methods import stage_method
        from bench.toy.metrics import measure
        from bench.toy.ring import draw_pairs
        from bench.toy.samples import (
            cost_units,
            draw,
            open_reference,
            traced_energy,
            write_samples,
        )
        from bench.training.export import load_export
        from bench.training.runner import train

        config, settings, seed = self.config, self.settings, self.seed
        backbone = open_reference(store.get(self.upstream["reference"]), settings)
        method: Method = stage_method(self.method, self.method_settings, None)
        result = train(
            method,
            backbone,
            draw_pairs(settings.ring, self.finetune, self.pairs_per_class, seed),
            config,
            work_dir=work.path,
            progress=lambda done, total, _row: runtime.progress(done, total),
        )
        points = draw(backbone, load_export(backbone, result.export), settings, seed)
        values = measure(points, settings.ring, settings.sampling)
        trace = {
            at: traced_energy(backbone, folder, settings, seed)
            for at, folder in sorted(result.exports.items())
            if at < config.steps
        } | {config.steps: values["energy"]}
        work.write_json(TRACE, {str(at): energy for at, energy in trace.items()})
        spent = cost_units(result.metrics)
        affordable = config.steps * DPO_UNITS / spent
        at_cost = max((at for at in trace if at <= affordable), default=min(trace))
        values |= {"energy_best": min(trace.values()), "energy_equal_cost": trace[at_cost]}
        write_samples(work, points, values)
        work.note("cost_units", spent)
        work.note("seconds", result.seconds)


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
        keep_exports=ALL,
    )
