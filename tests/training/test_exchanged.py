"""A control that no method can win: winner and loser exchanged with all that makes them so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.api.method import Batch
from bench.backbones.sd import StableDiffusionBackbone
from bench.training.exchanged import exchanged, exchanged_pairs
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from tests.training.nets import tiny_pairs
from tests.training.runs import KAPPA, exported, rows, run

CPU = torch.device("cpu")


def batch_of(pairs: int) -> Batch:
    return tiny_pairs().batch(range(pairs), CPU)


def test_the_preference_is_turned_in_the_pairs_that_a_coin_chose() -> None:
    method, batch = DDSPO(kappa=KAPPA), batch_of(12)
    turned = exchanged_pairs(batch, seed=0)
    assert 0 < int(turned.sum()) < 12
    delta = torch.linspace(-0.1, 0.1, 12)
    found = exchanged(method, 0).losses(delta, batch)
    assert torch.equal(found[turned], method.link(-delta)[turned])
    assert torch.equal(found[~turned], method.link(delta)[~turned])
    assert not torch.equal(exchanged_pairs(batch, seed=1), turned)
    # at every visit or at none
    one = tiny_pairs().batch([5], CPU)
    assert exchanged_pairs(one, seed=0)[0] == turned[5]


def test_name_settings_and_class_are_the_methods_own() -> None:
    method = DDSPO(kappa=KAPPA)
    made = exchanged(method, 0)
    assert isinstance(made, DDSPO) and made.config() == method.config()
    assert (made.name, made.version, made.needs) == (method.name, method.version, method.needs)
    assert type(method) is DDSPO


def test_for_diffusion_dpo_it_is_to_shuffle_the_images(
    backbone: StableDiffusionBackbone, tmp_path: Path
) -> None:
    """Its targets are the noise: nothing but the images says which side is which."""
    method = DiffusionDPO(kappa=KAPPA)
    plain = run(backbone, tmp_path / "plain", method)
    images = run(backbone, tmp_path / "images", method, pairs=tiny_pairs(shuffle_seed=0))
    roles = run(backbone, tmp_path / "roles", exchanged(method, 0))
    losses = [[row["loss"] for row in rows(result)] for result in (images, roles, plain)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] != pytest.approx(losses[0], rel=1e-5)
    weights = [exported(result) for result in (images, roles)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_for_ddspo_it_is_not(backbone: StableDiffusionBackbone, tmp_path: Path) -> None:
    """Its loser's target is the reference's under c⁻, whichever image is there."""
    images = run(backbone, tmp_path / "images", pairs=tiny_pairs(shuffle_seed=0))
    roles = run(backbone, tmp_path / "roles", exchanged(DDSPO(kappa=KAPPA), 0))
    last = [rows(result)[-1]["loss"] for result in (images, roles)]
    assert last[0] != pytest.approx(last[1], rel=1e-5)


def test_nothing_is_preferred_on_average(backbone: StableDiffusionBackbone) -> None:
    """The first gradient of a pair and of the exchanged pair are each other's negative."""
    delta = torch.zeros(12, requires_grad=True)
    batch, method = batch_of(12), DDSPO(kappa=KAPPA)
    (plain,) = torch.autograd.grad(method.losses(delta, batch).sum(), delta)
    (found,) = torch.autograd.grad(exchanged(method, 0).losses(delta, batch).sum(), delta)
    sign = torch.where(exchanged_pairs(batch, 0), -1.0, 1.0)
    assert torch.equal(found, sign * plain) and bool((plain != 0).all())
