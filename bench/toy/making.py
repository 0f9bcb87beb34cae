"""What the toy's nodes do: from a payload to one artifact. Run in worker processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.api.estimate import Estimate
from bench.api.method import Method
from bench.spec.methods import stage_method
from bench.steps.graph import Node
from bench.steps.making import METRICS, Runtime
from bench.store import Artifact, Store, Work, write_safetensors
from bench.toy.backbone import ToyBackbone, new_network
from bench.toy.base import require_close, train_reference
from bench.toy.metrics import energy_to, measure
from bench.toy.network import ToyDenoiser
from bench.toy.ring import draw_pairs
from bench.toy.settings import FineTuning, ToySettings
from bench.training.config import TrainConfig
from bench.training.export import export_network, load_export
from bench.training.runner import train

SAMPLES = "samples.safetensors"
TRACE = "trace.json"
NETWORK = "network"
SAVED_NINTHS = 4
"""Checkpoints are taken after 4/9 and 8/9 of the steps and at the end."""
DPO_UNITS = 8
"""Network evaluations of a Diffusion-DPO step, in forwards of B samples: two of the reference,
two of the policy and their backwards, which count double."""


def make_reference(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Make a reference: `network/`, its samples and their metrics.

    Raises:
        BenchError: its samples are further from the noisy data than the gate allows.
    """

    def make(work: Work) -> None:
        payload = node.payload
        settings = ToySettings.from_json(payload["settings"])
        seed = payload["seed"]
        if payload["variant"] == "exact":
            network = new_network(settings, exact=True, seed=seed)
        else:
            network = train_reference(settings, seed, runtime.progress)
        points = _sample(ToyBackbone(settings, network), network, settings, seed)
        work.note("gate_energy_distance", require_close(points, settings, seed))
        export_network(network, work.path / NETWORK)
        values = measure(points, settings.ring, settings.sampling)
        energy = values["energy"]
        _write(work, points, {**values, "energy_best": energy, "energy_equal_cost": energy})

    return store.build(
        node.kind, node.name, node.identity, make, seeds={"training": node.payload["seed"]}
    )


def open_reference(artifact: Artifact, settings: ToySettings) -> ToyBackbone:
    """Return the backbone of a reference's artifact, its bytes verified.

    Raises:
        CorruptArtifactError: a file was changed.
    """
    for name in artifact.files:
        if name.startswith(f"{NETWORK}/"):
            artifact.file(name)
    network = ToyDenoiser.from_pretrained(artifact.path / NETWORK, use_safetensors=True)
    return ToyBackbone(settings, network)


def train_config(finetune: FineTuning, lr: float, seed: int) -> TrainConfig:
    """Return the training loop's settings: those of any other run."""
    return TrainConfig(
        steps=finetune.steps,
        batch=finetune.batch,
        micro_batch=finetune.batch,
        lr=lr,
        weight_decay=0.0,
        seed=seed,
        save_every=finetune.steps * SAVED_NINTHS // 9,
        log_every=finetune.steps // 9,
        keep_checkpoints=1,
    )


def make_run(store: Store, node: Node, runtime: Runtime) -> Artifact:
    """Train a method on N pairs per class with the harness's own loop, sample and measure.

    Files: the last network under `exports/`, `metrics.jsonl` of the training (with the size of
    delta on the way), `trace.json`, the samples and their metrics.

    Raises:
        DivergedError: a NaN or an infinity.
    """
    payload = node.payload
    settings = ToySettings.from_json(payload["settings"])
    seed = payload["seed"]
    config = train_config(settings.finetune, payload["lr"], seed)
    last = f"step-{config.steps:08d}"
    earlier = tuple(
        f"exports/step-{step:08d}/*" for step in range(1, config.steps) if config.saves_at(step)
    )

    def make(work: Work) -> None:
        backbone = open_reference(store.get(node.upstream["reference"]), settings)
        method: Method = stage_method(payload["method"], payload["method_settings"], None)
        pairs = draw_pairs(settings.ring, settings.finetune, payload["pairs_per_class"], seed)
        result = train(
            method,
            backbone,
            pairs,
            config,
            work_dir=work.path,
            progress=lambda done, total, _row: runtime.progress(done, total),
        )
        policy = load_export(backbone, result.export)
        points = _sample(backbone, policy, settings, seed)
        values = measure(points, settings.ring, settings.sampling)
        trace = {
            step: _on_the_way(backbone, folder, settings, seed)
            for step, folder in sorted(result.exports.items())
            if step < config.steps
        } | {config.steps: values["energy"]}
        work.write_json(TRACE, {str(step): energy for step, energy in trace.items()})
        spent = _cost_units(result.metrics)
        affordable = config.steps * DPO_UNITS / spent
        at_cost = max((step for step in trace if step <= affordable), default=min(trace))
        values |= {"energy_best": min(trace.values()), "energy_equal_cost": trace[at_cost]}
        _write(work, points, values)
        work.note("cost_units", spent)
        work.note("seconds", result.seconds)

    return store.build(
        node.kind,
        node.name,
        node.identity,
        make,
        upstream=node.upstream,
        seeds={"training": seed},
        config=config.to_json(),
        exclude=("checkpoints/*", *(e for e in earlier if last not in e)),
    )


def _on_the_way(backbone: ToyBackbone, export: Path, settings: ToySettings, seed: int) -> float:
    """Return the energy distance to the truth of an earlier checkpoint's first samples."""
    network, first = load_export(backbone, export), settings.sampling.trace_per_class
    points = _sample(backbone, network, settings, seed, first)
    return float(energy_to(points, settings.ring, noisy=False).mean())


def _cost_units(metrics: Path) -> float:
    """Return the network evaluations of a step as the training loop counted them."""
    lines = metrics.read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["cost_units"])


def _sample(
    backbone: ToyBackbone,
    network: nn.Module,
    settings: ToySettings,
    seed: int,
    first: int | None = None,
) -> Tensor:
    sampling = settings.sampling
    return backbone.sample(
        network, per_class=sampling.per_class, steps=sampling.steps, seed=seed, first=first
    )


def _write(work: Work, points: Tensor, values: Mapping[str, float]) -> None:
    count = points.shape[0] * points.shape[1]
    estimates = {k: Estimate(value=v, n=count).to_json() for k, v in values.items()}
    work.write_json(METRICS, estimates)
    write_safetensors(work, SAMPLES, {"points": points.float().numpy()})
