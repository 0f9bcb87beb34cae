"""The whole figure has to fit in three minutes on two cores: its work is counted, not timed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.store import Store
from bench.toy import backbone as module
from bench.toy.backbone import ToyBackbone, new_network
from bench.toy.metrics import energy_to, measure
from bench.toy.ring import draw_classes, noisy_mixture
from bench.toy.spec import settings_of
from bench.toy.steps import ToyReferenceStep, ToyTrainingStep, train_config
from tests.precision import FORWARD

SETTINGS = settings_of(make_request("fig2")).settings
STEPS = 12_000
"""Optimiser steps of all fine-tunings: each costs about 7 ms, hardly less for a smaller batch."""
BASE_POINTS = 3_000_000
"""Points that the learned references are trained on, over all seeds."""
SAMPLER_POINTS = 27_000_000
"""Points that go through a network in all samplers' steps."""


def test_the_work_of_the_whole_figure_is_bounded(tmp_path: Path) -> None:
    """Per core and second: 140 such steps, 100 000 such points of training, 500 000 of sampling."""
    request = make_request("fig2")
    assert len(request.seeds) == 10
    nodes = list(build_graph(request, Store(tmp_path)).graph)
    runs = [node for node in nodes if isinstance(node, ToyTrainingStep)]
    bases = [node for node in nodes if isinstance(node, ToyReferenceStep)]
    assert (len(runs), len(bases)) == (240, 20)
    assert {node.pairs_per_class for node in runs} == {1, 2, 5, 20}
    tuning, base, sampling = SETTINGS.finetune, SETTINGS.base, SETTINGS.sampling
    assert len(runs) * tuning.steps <= STEPS
    learned = sum(node.variant == "learned" for node in bases)
    assert learned * base.steps * base.batch <= BASE_POINTS
    config = train_config(tuning, 0)
    saved = sum(config.saves_at(step) for step in range(1, config.steps + 1))
    assert saved == 3  # 4/9, 8/9, the end
    per_run = sampling.per_class + (saved - 1) * sampling.trace_per_class
    points = len(runs) * per_run + len(bases) * sampling.per_class
    assert points * SETTINGS.ring.classes * sampling.steps <= SAMPLER_POINTS


@pytest.fixture
def sampled() -> Callable[..., Tensor]:
    network = new_network(SETTINGS, exact=True, seed=0)
    backbone = ToyBackbone(SETTINGS, network)

    def sample(**changes: int) -> Tensor:
        return backbone.sample(network, **{"per_class": 40, "steps": 6, "seed": 3, **changes})

    return sample


def test_samples_do_not_depend_on_how_many_go_together(
    sampled: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sampled()
    for rows in (7, 64):
        monkeypatch.setattr(module, "CACHED_ROWS", rows)
        assert torch.allclose(sampled(), whole, rtol=0.0, atol=2e-5)


def test_the_first_samples_are_those_of_all(sampled: Callable[..., Tensor]) -> None:
    few = sampled(first=15)
    assert few.shape == (8, 15, 2)
    assert torch.allclose(few, sampled()[:, :15], rtol=0.0, atol=2e-5)
    assert torch.equal(sampled(first=400), sampled())
    assert not torch.allclose(few, sampled(per_class=15), atol=0.1)  # not the same noise


def test_one_timestep_for_all_is_one_for_each() -> None:
    for exact in (False, True):
        network = new_network(SETTINGS, exact=exact, seed=1)
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(50, 2, 1, 1, generator=generator)
        label = torch.randint(0, 8, (50,), generator=generator)
        with torch.no_grad():
            short = network(x, torch.tensor([321]), label)
            full = network(x, torch.full((50,), 321), label)
        assert torch.allclose(short, full, rtol=0.0, atol=FORWARD)


def test_the_energy_of_fewer_samples_is_unbiased() -> None:
    """The distances on the way use the first samples only: noisier, and not systematically off."""
    ring, sampling = SETTINGS.ring, SETTINGS.sampling
    many = draw_classes(noisy_mixture(ring), 1000, 5, "test")
    whole = float(energy_to(many, ring, noisy=False).mean())
    parts = [
        float(energy_to(part, ring, noisy=False).mean())
        for part in many.split(sampling.trace_per_class, dim=1)
    ]
    mean = sum(parts) / len(parts)
    spread = (sum((p - mean) ** 2 for p in parts) / (len(parts) - 1)) ** 0.5
    assert abs(mean - whole) < 3.0 * spread / len(parts) ** 0.5
    assert spread < 0.1 * whole
    found = measure(many[:, : sampling.per_class], ring, sampling)["energy"]
    direct = energy_to(many[:, : sampling.per_class], ring, noisy=False).mean()
    assert found == pytest.approx(float(direct), abs=1e-12)
