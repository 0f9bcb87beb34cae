"""Guidance distillation, and targets that combine several predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from bench.api.errors import ContractError
from bench.api.method import Batch, Combination, FromReference, Half, StepContext, Target
from bench.training.objective import evaluate_halves
from bench.validate import validate
from methods.ddspo import DDSPO
from methods.guidance_distillation import GuidanceDistillation
from tests.methods.fields import ELEMENTS, PAIRS, SHAPE, Setting, draw, per_pair
from tests.training.nets import tiny_backbone
from tests.training.runs import assert_equal_tensors, exported, rows, run


def single(dtype: torch.dtype = torch.float64, **changes: object) -> Setting:
    base = Setting()
    setting = Setting(
        winner=base.winner.to(dtype),
        loser=base.loser.to(dtype),
        noise=base.noise.to(dtype),
        prompt={"shift": base.prompt["shift"].to(dtype)},
        degraded={"shift": base.degraded["shift"].to(dtype)},
        moves=(0.1 * draw(6)).to(dtype),
    )
    return replace(setting, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [0.0, 3.0, 7.5])
def test_loss_and_gradient_are_those_of_the_formula(dtype: torch.dtype, scale: float) -> None:
    setting = single(dtype)
    x_t, _ = setting.noised()
    toward = setting.predict(x_t, setting.t, setting.prompt)
    away = setting.predict(x_t, setting.t, setting.degraded)
    target = away + scale * (toward - away)
    moves = setting.moves.clone().requires_grad_()
    theirs = ((toward + moves - target) ** 2).flatten(1).mean(1)
    expected = theirs - ((toward - target) ** 2).flatten(1).mean(1)
    (of_theirs,) = torch.autograd.grad(theirs.mean(), moves)
    setting.moves = setting.moves.clone().requires_grad_()
    found = setting.evaluate(GuidanceDistillation(scale=scale))
    (of_ours,) = torch.autograd.grad(found.loss, setting.moves)
    # a target is rounded where it is computed, to units of its largest term; a loss is the
    # difference of two means of squared errors, a gradient 2 / ELEMENTS of an error
    unit = torch.finfo(dtype).eps
    largest = max(1.0, scale) * float(max(toward.abs().max(), away.abs().max()))
    in_target = 2 * unit * largest
    error = ((toward - target).abs() + setting.moves.detach().abs()).flatten(1).mean(1)
    in_loss = 2 * float(error.max()) * in_target + 4 * unit * float(theirs.detach().max())
    in_gradient = 2 * in_target / ELEMENTS / PAIRS
    torch.testing.assert_close(found.losses, expected, rtol=0, atol=in_loss)
    torch.testing.assert_close(of_ours, of_theirs, rtol=4 * unit, atol=in_gradient)
    if scale:  # a guidance scale that is off by 0.1 % is seen
        off = away + 1.001 * scale * (toward - away)
        other = ((toward + moves - off) ** 2 - (toward - off) ** 2).flatten(1).mean(1)
        assert float((other - expected).detach().abs().max()) > in_loss


def test_it_starts_along_the_direction_ddspo_teaches() -> None:
    """F4: at the start both pull the prediction along ref(c) - ref(c⁻)."""
    setting = single(moves=torch.zeros(PAIRS, *SHAPE, dtype=torch.float64, requires_grad=True))
    evaluation = setting.evaluate(GuidanceDistillation(scale=4.0))
    assert torch.equal(evaluation.delta, torch.zeros(PAIRS, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(evaluation.losses.sum(), setting.moves)
    x_t, _ = setting.noised()
    direction = setting.predict(x_t, setting.t, setting.prompt) - setting.predict(
        x_t, setting.t, setting.degraded
    )
    torch.testing.assert_close(gradient, -2 * 3.0 * direction / ELEMENTS)


def test_at_its_minimum_the_student_is_the_guided_reference() -> None:
    setting = single()
    x_t, _ = setting.noised()
    toward = setting.predict(x_t, setting.t, setting.prompt)
    away = setting.predict(x_t, setting.t, setting.degraded)
    setting.moves = 4.0 * (toward - away)  # away + 5 (toward - away) - toward
    evaluation = setting.evaluate(GuidanceDistillation())
    assert float(evaluation.errors[0].max()) < 1e-28
    assert per_pair(setting.moves).shape == (PAIRS,)


def test_the_known_prediction_is_not_made_again() -> None:
    """ref(x, c) is the half's own; ref(x, c⁻) is the one forward more."""
    assert single().evaluate(GuidanceDistillation()).reference_units == 2
    whole = single().evaluate(GuidanceDistillation(), reuse_reference=False)
    assert whole.reference_units == 3
    assert torch.equal(whole.losses, single().evaluate(GuidanceDistillation()).losses)


@dataclass(frozen=True, kw_only=True)
class Combined(DDSPO):
    """DDSPO with its loser's target written as a combination."""

    supplier: str | None = None
    empty: bool = False

    def targets(
        self, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[Target, ...]:
        winner, loser = super().targets(halves, batch, step)
        assert isinstance(loser, FromReference)
        asked = replace(loser, supplier=self.supplier)
        share = torch.linspace(0.0, 1.0, PAIRS, dtype=torch.float64)
        terms = () if self.empty else ((share, asked), (1 - share, asked))
        return winner, Combination(terms=terms)


def test_weights_may_differ_by_pair() -> None:
    one, two = Setting().evaluate(Combined(kappa=9.0)), Setting().evaluate(DDSPO(kappa=9.0))
    torch.testing.assert_close(one.losses, two.losses, rtol=1e-13, atol=0)
    assert one.reference_units == 3


def test_another_network_answers_where_it_is_named() -> None:
    setting = Setting()
    evaluation = evaluate_halves(
        Combined(kappa=9.0, supplier="losers"),
        setting.batch(),
        setting.step(),
        policy=setting.policy,
        reference=setting.reference,
        suppliers={"losers": lambda x, t, c: 2.0 * setting.predict(x, t, c)},
    )
    _, loser = setting.noised()
    target = 2.0 * setting.predict(loser, setting.t, setting.degraded)
    reference = setting.predict(loser, setting.t, setting.prompt)
    expected = ((reference - target) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(evaluation.reference_errors[1], expected)
    with pytest.raises(ContractError, match=r"'losers'.*Stage.suppliers"):
        setting.evaluate(Combined(supplier="losers"))
    with pytest.raises(ContractError, match="Combination of nothing"):
        setting.evaluate(Combined(empty=True))


def test_it_fulfils_the_contract() -> None:
    report = validate("guidance-distillation")
    assert report.ok, report
    with pytest.raises(ContractError, match="no guidance"):
        GuidanceDistillation(scale=1.0)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    method = GuidanceDistillation(scale=3.0)
    backbone = tiny_backbone(tmp_path / "backbone")
    changes = {"steps": 3, "batch": 4, "micro_batch": 4, "save_every": 1}
    whole = run(backbone, tmp_path / "whole", method, **changes)

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, row: object) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(backbone, tmp_path / "again", method, options={"progress": stop}, **changes)
    resumed = run(backbone, tmp_path / "again", method, **changes)
    assert_equal_tensors(exported(whole), exported(resumed))
    losses = [row["loss"] for row in rows(whole)]
    assert losses[0] == pytest.approx(0.0, abs=1e-6) and all(losses[1:])
