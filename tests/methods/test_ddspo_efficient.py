"""The efficient variants: their pairs, their losses and gradients against a recomputation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api.method import Batch
from bench.data.pairing import RePaired, others
from bench.training.randomness import Sample
from bench.training.source import TensorPairs, Visits
from bench.validate import validate
from methods.ddspo import DDSPO
from methods.ddspo_efficient import (
    DDSPOEfficient,
    DDSPONotPaired,
    DDSPOOneImage,
    DDSPORandPositive,
)
from tests.methods.fields import PAIRS, SHAPE, Setting, draw, per_pair
from tests.precision import EXACT, double_precision, of_formula
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import assert_equal_tensors, exported, rows, run

CPU = torch.device("cpu")
PRESETS = (DDSPONotPaired, DDSPORandPositive, DDSPOOneImage)
AT = Visits(seed=4, step=2, samples=[Sample(i, 0) for i in range(PAIRS)])
KAPPA = 30.0


def without_losers(dtype: torch.dtype = torch.float64) -> TensorPairs:
    """Pairs whose losers are NaN: looking at one would spoil every number."""
    setting = Setting()
    return TensorPairs(
        winner=setting.winner.to(dtype),
        loser=torch.full_like(setting.loser, math.nan).to(dtype),
        condition={k: v.to(dtype) for k, v in setting.prompt.items()},
        degraded={k: v.to(dtype) for k, v in setting.degraded.items()},
    )


class Fields(Setting):
    """A setting whose batch is the one that the data layer made."""

    made: Batch

    def batch(self) -> Batch:
        return self.made


def made(pairing: str, moves: Tensor, dtype: torch.dtype = torch.float64) -> Fields:
    batch = RePaired(pairs=without_losers(dtype), pairing=pairing).visited(AT, CPU)
    setting = Fields(
        winner=batch.winner,
        loser=batch.loser,
        noise=draw(3).to(dtype),
        prompt=batch.condition,
        degraded=batch.degraded or {},
        moves=moves.to(dtype),
    )
    setting.made = batch
    return setting


def recomputed(pairing: str, moves: Tensor, dtype: torch.dtype) -> Tensor:
    """The loss of each pair, from the table of the rules alone: no batch, no halves."""
    base = Setting()
    field, t = base.predict, base.t
    noise, winner = draw(3).to(dtype), base.winner.to(dtype)
    c, degraded = base.prompt["shift"].to(dtype), base.degraded["shift"].to(dtype)
    add_noise = base.step().add_noise
    losses = []
    for i, j in enumerate(others(AT, PAIRS)):
        one = slice(i, i + 1)
        source = i if pairing == "one-image" else j
        shown = c[j : j + 1] if pairing == "rand-positive" else degraded[one]
        x_w = add_noise(winner[one], noise[one], t[one])
        x_l = add_noise(winner[source : source + 1], noise[one], t[one])
        own = {"shift": c[one]}
        ref_w, ref_l = field(x_w, t[one], own), field(x_l, t[one], own)
        target_l = field(x_l, t[one], {"shift": shown})
        policy_w, policy_l = ref_w + moves[one], ref_l + moves[PAIRS + i : PAIRS + i + 1]
        model = ((policy_w - ref_w) ** 2).mean() - ((policy_l - target_l) ** 2).mean()
        frozen = -((ref_l - target_l) ** 2).mean()
        losses.append(torch.log1p(torch.exp(KAPPA * (model - frozen))))
    return torch.stack(losses)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pairing", ["not-paired", "rand-positive", "one-image"])
def test_losses_and_gradients_are_those_of_the_rules(pairing: str, dtype: torch.dtype) -> None:
    start = (0.1 * torch.cat([draw(6), draw(7)])).to(dtype)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    found = made(pairing, ours, dtype).evaluate(DDSPOEfficient(kappa=KAPPA, pairing=pairing))
    expected = recomputed(pairing, theirs, dtype)
    tolerance = of_formula(dtype)
    torch.testing.assert_close(found.losses, expected, rtol=tolerance, atol=tolerance)
    (of_ours,) = torch.autograd.grad(found.loss, ours)
    (of_theirs,) = torch.autograd.grad(expected.mean(), theirs)
    torch.testing.assert_close(of_ours, of_theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("preset", PRESETS)
def test_f1_the_loss_starts_at_log_2(preset: type[DDSPOEfficient]) -> None:
    method = preset()
    setting = made(method.pairing, torch.zeros(2 * PAIRS, *SHAPE, dtype=torch.float64))
    assert float(setting.evaluate(method).loss) == pytest.approx(math.log(2.0), abs=1e-15)


@pytest.mark.parametrize("preset", PRESETS)
def test_f4_only_the_loser_pulls_at_the_start_and_along_the_gap(
    preset: type[DDSPOEfficient],
) -> None:
    method = preset(kappa=80.0)
    moves = torch.zeros(2 * PAIRS, *SHAPE, dtype=torch.float64, requires_grad=True)
    setting = made(method.pairing, moves)
    (gradient,) = torch.autograd.grad(setting.evaluate(method).losses.sum(), moves)
    assert torch.equal(gradient[:PAIRS], torch.zeros_like(gradient[:PAIRS]))
    expected = 80.0 * setting.gap() / setting.winner[0].numel()
    torch.testing.assert_close(gradient[PAIRS:], expected, rtol=1e-12, atol=1e-13)


def test_f6_with_one_image_the_argument_is_linear_in_the_policys_move() -> None:
    move = 0.1 * draw(6)

    def delta(scale: float) -> Tensor:
        return made("one-image", scale * torch.cat([move, move])).evaluate(DDSPOOneImage()).delta

    torch.testing.assert_close(delta(100.0), 100.0 * delta(1.0), rtol=1e-9, atol=0)
    gap = made("one-image", torch.cat([move, move])).gap()
    torch.testing.assert_close(delta(1.0), 2 * per_pair(move * gap) / move[0].numel())


def test_on_the_same_batch_it_is_ddspo_to_the_bit() -> None:
    setting = Setting()
    one = setting.evaluate(DDSPO(kappa=50.0))
    two = replace(setting).evaluate(DDSPOEfficient(kappa=50.0))
    assert torch.equal(one.losses, two.losses)


def test_one_image_costs_no_forward_of_a_second_image_target() -> None:
    """Its targets are ref(x, c), known already, and ref(x, c⁻)."""
    setting = made("one-image", 0.1 * torch.cat([draw(6), draw(7)]))
    assert setting.evaluate(DDSPOOneImage()).reference_units == 3


def test_no_loser_is_asked_of_the_pair_set() -> None:
    for preset in (DDSPOEfficient, *PRESETS):
        assert not preset.needs.loser and not preset().needs.loser
        assert preset().needs.batch_has_loser and preset().needs.batch_has_degraded
    assert not DDSPORandPositive().needs.degraded
    assert DDSPOEfficient(pairing="rand-positive").needs == DDSPORandPositive.needs
    assert DDSPOEfficient.needs.pairing == "not-paired"  # a setting leaves the class as it is
    assert DDSPOEfficient(pairing="one-image").config() == {
        "kappa": 8000.0, "pairing": "one-image"
    }  # fmt: skip


@pytest.mark.parametrize("preset", [DDSPOEfficient, *PRESETS])
def test_it_fulfils_the_contract(preset: type[DDSPOEfficient]) -> None:
    report = validate(f"{preset.__module__}:{preset.__qualname__}")
    assert report.ok, report


def pairs(pairing: str) -> RePaired:
    inner: Any = replace(tiny_pairs(), loser=torch.full_like(tiny_pairs().loser, math.nan))
    return RePaired(pairs=inner, pairing=pairing)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resumed_run_is_the_uninterrupted_one(
    preset: type[DDSPOEfficient], tmp_path: Path
) -> None:
    method = preset(kappa=20.0)
    source = pairs(method.pairing)
    backbone = tiny_backbone(tmp_path / "backbone")
    changes = {"steps": 3, "batch": 5, "micro_batch": 2, "save_every": 1}
    whole = run(backbone, tmp_path / "whole", method, pairs=source, **changes)

    class StoppedError(Exception):
        pass

    def interrupt(done: int, total: int, row: object) -> None:
        if done == 2:
            raise StoppedError

    options = {"progress": interrupt}
    with pytest.raises(StoppedError):
        run(backbone, tmp_path / "again", method, pairs=source, options=options, **changes)
    resumed = run(backbone, tmp_path / "again", method, pairs=source, **changes)
    assert_equal_tensors(exported(whole), exported(resumed))
    assert [row["loss"] for row in rows(whole)] == [row["loss"] for row in rows(resumed)]
    with double_precision():
        model, source = tiny_backbone(tmp_path / "double"), pairs(method.pairing)
        exact, cut = (
            run(
                model,
                tmp_path / f"{size}",
                method,
                pairs=source,
                **{**changes, "micro_batch": size},
            )
            for size in (2, 5)
        )
    assert rows(cut)[2]["loss"] == pytest.approx(rows(exact)[2]["loss"], rel=EXACT)
