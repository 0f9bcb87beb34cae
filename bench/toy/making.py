"""The toy's artifacts: a reference, and a method trained from it on N pairs of each class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from bench.api.estimate import Estimate
from bench.api.method import Method
from bench.spec.methods import stage_method
from bench.steps.scores import METRICS
from bench.steps.step import Runtime
from bench.store import Artifact, Store, Work, write_safetensors
from bench.toy.backbone import ToyBackbone, new_network
from bench.toy.base import require_close, train_reference
from bench.toy.metrics import energy_to, measure
from bench.toy.network import ToyDenoiser
from bench.toy.ring import draw_pairs
from bench.toy.settings import PointSettings
from bench.toy.steps import ToyReferenceStep, ToyTrainingStep
from bench.training.export import export_network, load_export
from bench.training.runner import train

SAMPLES = "samples.safetensors"
TRACE = "trace.json"
NETWORK = "network"
DPO_UNITS = 8
"""Network evaluations of a Diffusion-DPO step, in forwards of B samples: two of the reference,
two of the policy and their backwards, which count double."""


def make_reference(step: ToyReferenceStep, work: Work, runtime: Runtime) -> None:
    """Fill the folder of a reference: `network/`, its samples and their metrics.

    Raises:
        BenchError: its samples are further from the noisy data than the gate allows.
    """
    settings, seed = step.settings, step.seed
    if step.variant == "exact":
        network = new_network(settings, exact=True, seed=seed)
    else:
        network = train_reference(settings, seed, runtime.progress)
    points = _sample(ToyBackbone(settings, network), network, settings, seed)
    work.note("gate_energy_distance", require_close(points, settings, seed))
    export_network(network, work.path / NETWORK)
    values = measure(points, settings.ring, settings.sampling)
    energy = values["energy"]
    _write(work, points, {**values, "energy_best": energy, "energy_equal_cost": energy})


def open_reference(artifact: Artifact, settings: PointSettings) -> ToyBackbone:
    """Return the backbone of a reference's artifact, its bytes verified.

    Raises:
        CorruptArtifactError: a file was changed.
    """
    for name in artifact.files:
        if name.startswith(f"{NETWORK}/"):
            artifact.file(name)
    network = ToyDenoiser.from_pretrained(artifact.path / NETWORK, use_safetensors=True)
    return ToyBackbone(settings, network)


def make_training(step: ToyTrainingStep, store: Store, work: Work, runtime: Runtime) -> None:
    """Fill the folder of a training.

    Raises:
        DivergedError: a NaN or an infinity.
    """
    config = step.config
    settings, seed = step.settings, step.seed
    backbone = open_reference(store.get(step.upstream["reference"]), settings)
    method: Method = stage_method(step.method, step.method_settings, None)
    pairs = draw_pairs(settings.ring, step.finetune, step.pairs_per_class, seed)
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
        at: _on_the_way(backbone, folder, settings, seed)
        for at, folder in sorted(result.exports.items())
        if at < config.steps
    } | {config.steps: values["energy"]}
    work.write_json(TRACE, {str(at): energy for at, energy in trace.items()})
    spent = _cost_units(result.metrics)
    affordable = config.steps * DPO_UNITS / spent
    at_cost = max((at for at in trace if at <= affordable), default=min(trace))
    values |= {"energy_best": min(trace.values()), "energy_equal_cost": trace[at_cost]}
    _write(work, points, values)
    work.note("cost_units", spent)
    work.note("seconds", result.seconds)


def _on_the_way(backbone: ToyBackbone, export: Path, settings: PointSettings, seed: int) -> float:
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
    settings: PointSettings,
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
