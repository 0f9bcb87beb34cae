"""DD-CPP: two networks fitted on winners and on losers supply DDSPO's targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.api.errors import ContractError, UsageError
from bench.api.stages import Stage, StagedMethod, stages_of
from bench.training.export import load_export
from bench.training.objective import evaluate_halves
from bench.validate import validate
from methods.ddspo_dd_cpp import AlignToPair, DDSPODataDriven, FitImages
from methods.sft import SFT
from tests.methods.fields import Setting, draw
from tests.precision import of_formula
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import assert_equal_tensors, exported, rows, run


def shifted(setting: Setting, amount: float) -> object:
    return lambda x, t, c: setting.predict(x, t, c) + amount * torch.cos(x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradient_are_those_of_the_formula(dtype: torch.dtype) -> None:
    kappa = 30.0
    base = Setting()
    setting = Setting(
        winner=base.winner.to(dtype),
        loser=base.loser.to(dtype),
        noise=base.noise.to(dtype),
        prompt={"shift": base.prompt["shift"].to(dtype)},
        degraded={"shift": torch.full_like(base.degraded["shift"], math.nan).to(dtype)},
        moves=(0.1 * torch.cat([draw(6), draw(7)])).to(dtype),
    )
    x_w, x_l = setting.noised()
    suppliers = {"winners": shifted(setting, 0.2), "losers": shifted(setting, -0.3)}

    def loss(moves: Tensor) -> Tensor:
        ref_w, ref_l = (setting.predict(x, setting.t, setting.prompt) for x in (x_w, x_l))
        good, bad = ref_w + 0.2 * torch.cos(x_w), ref_l - 0.3 * torch.cos(x_l)
        move_w, move_l = moves.split(len(x_w))

        def mean(error: Tensor) -> Tensor:
            return (error**2).flatten(1).mean(1)

        delta = mean(ref_w + move_w - good) - mean(ref_w - good)
        delta = delta - mean(ref_l + move_l - bad) + mean(ref_l - bad)
        return torch.log1p(torch.exp(kappa * delta))

    theirs = setting.moves.clone().requires_grad_()
    setting.moves = setting.moves.clone().requires_grad_()
    found = evaluate_halves(
        AlignToPair(kappa=kappa),
        setting.batch(),
        setting.step(),
        policy=setting.policy,
        reference=setting.reference,
        suppliers=suppliers,  # type: ignore[arg-type]
    )
    (of_ours,) = torch.autograd.grad(found.loss, setting.moves)
    (of_theirs,) = torch.autograd.grad(loss(theirs).mean(), theirs)
    tolerance = of_formula(dtype)
    torch.testing.assert_close(found.losses, loss(theirs), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(of_ours, of_theirs, rtol=tolerance, atol=tolerance)
    assert found.reference_units == 4  # two halves, and one forward of each supplier


def test_fitting_winners_is_sft_and_fitting_losers_sees_losers_alone() -> None:
    setting = Setting()
    one, two = setting.evaluate(FitImages()), setting.evaluate(SFT())
    assert torch.equal(one.losses, two.losses)
    losers = replace(setting, winner=setting.loser, loser=setting.winner)
    assert torch.equal(
        setting.evaluate(FitImages(images="losers")).losses, losers.evaluate(SFT()).losses
    )
    assert FitImages(images="losers").needs.loser and not FitImages().needs.loser
    with pytest.raises(ContractError, match="losers"):
        FitImages(images="loser")


def test_its_stages_start_alike_and_the_last_names_the_others() -> None:
    winners, losers, align = stages_of(DDSPODataDriven(kappa=7.0, fit_steps=9))
    assert (winners.start, losers.start, align.start) == ("origin",) * 3
    assert align.suppliers == (winners.name, losers.name) == ("winners", "losers")
    assert winners.train == losers.train and winners.train["steps"] == 9
    assert align.method == AlignToPair(kappa=7.0) and not align.train
    report = validate("ddspo-dd-cpp")
    assert report.ok, report


@dataclass(frozen=True, kw_only=True)
class Backwards(StagedMethod):
    name = "backwards"
    version = 1

    def stages(self) -> tuple[Stage, ...]:
        return DDSPODataDriven().stages()[::-1]


def test_suppliers_come_before_who_asks_them() -> None:
    with pytest.raises(ContractError, match=r"'align' names the suppliers \['winners', 'losers'\]"):
        stages_of(Backwards())
    with pytest.raises(ContractError, match="previous"):
        Stage(name="x", method=SFT(), start="previously")


def fitted(folder: Path) -> dict[str, nn.Module]:
    """Train the two LoRAs and return the networks they end in."""
    backbone = tiny_backbone(folder / "backbone")
    networks = {}
    for stage in DDSPODataDriven(fit_steps=2, fit_lr=1e-2).stages()[:2]:
        train = {**stage.train, "batch": 4, "micro_batch": 4}
        result = run(backbone, folder / stage.name, stage.method, **train)
        networks[stage.name] = load_export(backbone, result.export)
    return networks


def test_three_stages_in_a_row_resume_to_the_bit(tmp_path: Path) -> None:
    networks = fitted(tmp_path)
    backbone = tiny_backbone(tmp_path / "backbone")
    method = AlignToPair(kappa=20.0)
    pairs = replace(tiny_pairs(), degraded=None)
    changes = {"pairs": pairs, "steps": 3, "batch": 4, "micro_batch": 4, "save_every": 1}
    frozen = {name: [p.clone() for p in net.parameters()] for name, net in networks.items()}
    whole = run(backbone, tmp_path / "whole", method, options={"suppliers": networks}, **changes)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, row: object) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(backbone, tmp_path / "again", method,
            options={"suppliers": networks, "progress": stop}, **changes)  # fmt: skip
    resumed = run(backbone, tmp_path / "again", method, options={"suppliers": networks}, **changes)
    assert_equal_tensors(exported(whole), exported(resumed))
    losses = [row["loss"] for row in rows(whole)]
    assert losses[0] == pytest.approx(math.log(2.0), abs=1e-6)
    assert len(set(losses)) == 3
    for name, network in networks.items():
        assert all(
            torch.equal(a, b) for a, b in zip(frozen[name], network.parameters(), strict=True)
        )
        assert not any(p.requires_grad for p in network.parameters())
    # other suppliers are another run: its checkpoints are refused
    other = {"winners": networks["losers"], "losers": networks["winners"]}
    with pytest.raises(UsageError):
        run(backbone, tmp_path / "again", method, options={"suppliers": other}, **changes)
    with pytest.raises(ContractError, match=r"'winners'.*Stage\.suppliers"):
        run(backbone, tmp_path / "none", method, **changes)
