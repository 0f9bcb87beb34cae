"""RealAlign's losses against formulas written out, and what follows from them.

The letters are those of the project's notes on RealAlign, section 8.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.api.errors import ContractError, UsageError
from bench.api.method import Batch, StepContext
from bench.api.registry import METHODS
from bench.api.rollout import Rollout
from bench.api.stages import stages_of
from bench.training.objective import Evaluation, evaluate_halves
from methods.realalign import VARIANTS, RealAlign, RealAlignStage1, RealAlignStage2
from methods.sft import SFT
from tests.methods.fields import PAIRS, Setting, draw
from tests.precision import of_formula

MARGIN = 0.001
DTYPES = [torch.float32, torch.float64]
TOLERANCE = {dtype: of_formula(dtype) for dtype in (torch.float32, torch.float64)}


def case(seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors of a step, as if a network had made them; sizes such that gates differ."""
    names = ("photo", "noise", "x_t", "recorded", "policy_a", "policy_b", "ref_a", "ref_b")
    drawn = {name: draw(seed * 20 + n) for n, name in enumerate(names)}
    for half, centre in (("a", "noise"), ("b", "recorded")):
        drawn[f"ref_{half}"] = drawn[centre] + 0.3 * drawn[f"ref_{half}"]
        drawn[f"policy_{half}"] = drawn[f"ref_{half}"] + 0.05 * drawn[f"policy_{half}"]
    return {name: tensor.to(dtype) for name, tensor in drawn.items()}


def evaluated(
    method: Any, values: dict[str, Tensor]
) -> tuple[Evaluation, tuple[Tensor, Tensor], Tensor]:
    """Evaluate the method where the networks answer `values`; also the leaves and the halves."""
    leaves = tuple(values[f"policy_{h}"].clone().requires_grad_() for h in "ab")
    zero = torch.zeros_like(values["photo"])
    rollout = Rollout(
        x_t=values["x_t"],
        t=torch.arange(PAIRS),
        prediction=values["recorded"],
        noise=zero,
        clean=zero,
        forwards=20,
    )
    seen: list[Tensor] = []

    def policy(x_t: Tensor, t: Tensor, condition: Any) -> Tensor:
        seen.append(x_t)
        return torch.cat(leaves)[: len(x_t)]

    evaluation = evaluate_halves(
        method,
        Batch(
            winner=values["photo"],
            loser=torch.full_like(values["photo"], math.nan),
            condition={"shift": zero},
            degraded=None,
            index=torch.arange(PAIRS),
        ),
        StepContext(
            t=torch.arange(PAIRS),
            noise=values["noise"],
            add_noise=lambda clean, noise, t: 0.8 * clean + 0.6 * noise,
            true_target=lambda clean, noise, t: noise,
            rollout=rollout,
        ),
        policy=policy,
        reference=lambda x, t, c: torch.cat([values["ref_a"], values["ref_b"]]),
    )
    return evaluation, (leaves[0], leaves[1]), seen[0]


def written_out(values: dict[str, Tensor], of_a: Tensor, of_b: Tensor) -> Tensor:
    """diff of the notes' section 1.1, with float64 sums."""
    v = {name: tensor.double() for name, tensor in values.items()}

    def mean(x: Tensor) -> Tensor:
        return (x * x).sum(dim=(1, 2, 3)) / x[0].numel()

    e, e_ref = mean(of_a.double() - v["noise"]), mean(v["ref_a"] - v["noise"])
    n, n_ref = mean(of_b.double() - v["recorded"]), mean(v["ref_b"] - v["recorded"])
    return (e - e_ref) - (n - n_ref)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_stage_1_is_its_formula_with_gradients(variant: str, dtype: torch.dtype) -> None:
    opened = 0
    for seed in range(20):
        values = case(seed, dtype)
        evaluation, (a, b), x_t = evaluated(RealAlignStage1(variant=variant), values)
        photo = 0.8 * values["photo"] + 0.6 * values["noise"]
        assert torch.equal(x_t, torch.cat([photo, values["x_t"]]))
        got = torch.autograd.grad(evaluation.loss, (a, b))
        twin_a, twin_b = (leaf.detach().double().requires_grad_() for leaf in (a, b))
        diff = written_out(values, twin_a, twin_b)
        if variant == "paper":
            loss = torch.stack([d if d > -MARGIN else d * 0 - MARGIN for d in diff]).mean()
        else:
            loss = torch.stack([d + MARGIN if d > -MARGIN else d * 0 for d in diff]).mean()
        wanted = torch.autograd.grad(loss, (twin_a, twin_b))
        close = {"rtol": 0.0, "atol": TOLERANCE[dtype]}
        torch.testing.assert_close(evaluation.loss.double(), loss, **close)
        for mine, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(mine.double(), theirs, **close)
        opened += int((diff > -MARGIN).sum())
    assert 0.2 < opened / (20 * PAIRS) < 0.8  # both sides of the gate were seen


@pytest.mark.parametrize("dtype", DTYPES)
def test_stage_2_is_its_formula_with_gradients(dtype: torch.dtype) -> None:
    beta = 4.0  # in float32 the link multiplies the rounding of the errors by beta / 2
    setting = Setting()
    moves = setting.moves.clone().to(dtype).requires_grad_()
    cast = Setting(
        **{n: getattr(setting, n).to(dtype) for n in ("winner", "loser", "noise")},
        prompt={"shift": setting.prompt["shift"].to(dtype)},
        moves=moves,
    )
    evaluation = cast.evaluate(RealAlignStage2(kappa=beta / 2))
    (got,) = torch.autograd.grad(evaluation.loss, moves)

    twin = moves.detach().double().requires_grad_()
    halves = [x.double() for x in cast.noised()]
    shift, noise = cast.prompt["shift"].double(), cast.noise.double()
    errors = []
    for n, x_t in enumerate(halves):
        frozen = 0.7 * torch.sin(x_t) + 0.01 * cast.t.view(-1, 1, 1, 1) + shift
        move = twin[n * PAIRS : (n + 1) * PAIRS]
        errors += [(p - noise).square().mean(dim=(1, 2, 3)) for p in (frozen + move, frozen)]
    of_w, ref_w, of_l, ref_l = errors
    gap = (of_w - of_l) - (ref_w - ref_l)
    loss = torch.log1p(torch.exp(beta / 2 * gap)).mean()
    (wanted,) = torch.autograd.grad(loss, twin)
    close = {"rtol": 0.0, "atol": max(TOLERANCE[dtype], 1e-12)}
    torch.testing.assert_close(evaluation.loss.double(), loss, **close)
    torch.testing.assert_close(got.double(), wanted, **close)


def test_a_negative_half_has_no_gradient_at_the_sampled_policy() -> None:
    values = case(1, torch.float32)
    values["policy_b"] = values["recorded"]
    evaluation, (a, b), _ = evaluated(RealAlignStage1(margin=1e6), values)
    of_a, of_b = torch.autograd.grad(evaluation.loss, (a, b))
    assert torch.equal(of_b, torch.zeros_like(of_b)) and bool(of_a.any())
    # then N_ref is the drift of the policy from the reference
    assert torch.equal(evaluation.drift[1], evaluation.reference_errors[1])


def test_b_both_forms_of_the_hinge_have_one_gradient() -> None:
    delta = torch.linspace(-0.01, 0.01, 400, dtype=torch.float64).requires_grad_()
    paper = RealAlignStage1(variant="paper").link(delta)
    released = RealAlignStage1(variant="released").link(delta)
    torch.testing.assert_close(released - paper, torch.full_like(delta, MARGIN), rtol=0, atol=1e-15)
    gradients = [torch.autograd.grad(x.sum(), delta)[0] for x in (paper, released)]
    assert torch.equal(*gradients)
    assert torch.equal(gradients[0] > 0, RealAlignStage1().gate_open(delta))
    tie = torch.zeros(1, requires_grad=True)  # where every pair starts, were the margin 0
    assert bool(RealAlignStage1(margin=0.0).gate_open(tie))
    assert torch.autograd.grad(RealAlignStage1(margin=0.0).link(tie), tie)[0] == 1.0


def test_c_a_closed_gate_has_no_gradient() -> None:
    values = case(2, torch.float32)
    values["policy_a"] = values["noise"]  # far better than the reference
    evaluation, leaves, _ = evaluated(RealAlignStage1(), values)
    assert not RealAlignStage1().gate_open(evaluation.delta).any()
    for gradient in torch.autograd.grad(evaluation.loss, leaves):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("margin", [1e6, 0.5])
def test_a_forced_open_gate_is_sft(margin: float) -> None:
    values = case(3, torch.float64)
    values["policy_b"] = values["recorded"]
    ranked, (a, _), _ = evaluated(RealAlignStage1(margin=margin), values)
    plain, (b, _), _ = evaluated(SFT(), values)
    one = torch.autograd.grad(ranked.loss, a)[0]
    other = torch.autograd.grad(plain.loss, b)[0]
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_d_stage_2_starts_at_log_2() -> None:
    still = torch.zeros(2 * PAIRS, *draw(1).shape[1:], dtype=torch.float64)
    evaluation = Setting(moves=still).evaluate(RealAlignStage2())
    torch.testing.assert_close(
        evaluation.losses, torch.full((PAIRS,), math.log(2.0), dtype=torch.float64)
    )


def test_the_variants_differ_where_they_should() -> None:
    paper, released = RealAlignStage1(), RealAlignStage1(variant="released")
    eps, flow = paper.rollout("epsilon"), paper.rollout("flow")
    assert (eps.steps, eps.sync_every, eps.state, eps.shared_sigma) == (20, 1, "trajectory", 1)
    assert (flow.steps, flow.sync_every, flow.state) == (10, 1, "trajectory")
    eps, flow = released.rollout("epsilon"), released.rollout("flow")
    assert (eps.steps, eps.sync_every, eps.state, eps.shared_sigma) == (20, 16, "trajectory", 4)
    assert (flow.steps, flow.sync_every, flow.state) == (10, 0, "re-noised")
    zero = torch.zeros(1)
    assert (float(paper.link(zero)), float(released.link(zero))) == (0.0, pytest.approx(MARGIN))
    assert paper.config() != released.config()


def test_one_point_of_a_variant_can_be_changed() -> None:
    method = RealAlignStage1(variant="released", policy_sync_every=0, shared_sigma=1)
    assert method.rollout("epsilon") == replace(
        VARIANTS["released"]["epsilon"], sync_every=0, shared_sigma=1
    )
    reused = RealAlignStage1(state="re-noised", rollout_steps=5, reuse_rollouts=True)
    plan = reused.rollout("flow")
    assert (plan.state, plan.steps, plan.reuse) == ("re-noised", 5, True)


def test_both_stages_and_the_whole_are_registered() -> None:
    staged = METHODS.load("realalign")(variant="released", kappa=50.0)
    assert isinstance(staged, RealAlign)
    one, two = stages_of(staged)
    assert one.method == METHODS.load("realalign-stage1")(variant="released")
    assert two.method == METHODS.load("realalign-stage2")(kappa=50.0)
    assert one.train["ema_rule"] == "ramp" and two.train["ema_decay"] is None
    assert staged.config()["variant"] == "released"


def test_wrong_settings_are_explained() -> None:
    with pytest.raises(UsageError, match=r"unknown variant 'relased'.*'released'"):
        RealAlign(variant="relased").stages()
    with pytest.raises(UsageError, match="margin is -1"):
        RealAlignStage1(margin=-1.0)
    setting = Setting()
    with pytest.raises(ContractError, match=r"needs samples of the policy"):
        RealAlignStage1().halves(setting.batch(), setting.step())
