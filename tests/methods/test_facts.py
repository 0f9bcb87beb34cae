"""What follows from the formula, checked on predictors that can be written down.

The numbers F1 to F17 are those of the project's notes on DDSPO: kappa is the coefficient of the
mean-square difference, dw and dl are what the policy adds to the reference on winner and loser,
g = ref(x_l, c⁻) - ref(x_l, c), D the number of latent elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from bench.api.method import Batch, FromReference, Half, Method, StepContext
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from tests.methods.fields import ELEMENTS, PAIRS, SHAPE, Setting, draw, per_pair

LOG_2 = math.log(2.0)
BOTH = [DDSPO, DiffusionDPO]


@dataclass(frozen=True, kw_only=True)
class NoiseTargets(DDSPO):
    """DDSPO with the true noise in place of the reference's predictions."""

    def targets(
        self, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[Tensor | FromReference, ...]:
        return Method.targets(self, halves, batch, step)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("kappa", [1.0, 8000.0, 1e6])
def test_f1_loss_is_log_2_while_policy_is_reference(method: type, kappa: float) -> None:
    setting = Setting(moves=torch.zeros(2 * PAIRS, *SHAPE, dtype=torch.float64))
    evaluation = setting.evaluate(method(kappa=kappa))
    assert torch.equal(evaluation.delta, torch.zeros(PAIRS, dtype=torch.float64))
    assert float(evaluation.loss) == pytest.approx(LOG_2, abs=1e-15)


def test_f2_ddspo_closed_form() -> None:
    setting = Setting()
    dw, dl = setting.moves[:PAIRS], setting.moves[PAIRS:]
    expected = (per_pair(dl**2) - per_pair(dw**2) - 2 * per_pair(dl * setting.gap())) / ELEMENTS
    # inside = -kappa * delta
    torch.testing.assert_close(-setting.evaluate(DDSPO()).delta, expected, rtol=0, atol=1e-13)


def test_f2_general_targets_are_linear() -> None:
    setting = Setting()
    winner, loser = setting.noised()
    ref_w = setting.predict(winner, setting.t, setting.prompt)
    ref_l = setting.predict(loser, setting.t, setting.prompt)
    dw, dl = setting.moves[:PAIRS], setting.moves[PAIRS:]
    noise = setting.noise
    expected = per_pair((ref_w + dw) ** 2 - ref_w**2 - 2 * dw * noise)
    expected -= per_pair((ref_l + dl) ** 2 - ref_l**2 - 2 * dl * noise)
    found = setting.evaluate(DiffusionDPO()).delta
    torch.testing.assert_close(found, expected / ELEMENTS, rtol=0, atol=1e-13)


def test_f3_ddspo_with_noise_targets_is_diffusion_dpo_to_the_bit() -> None:
    one = Setting().evaluate(NoiseTargets(kappa=50.0))
    two = Setting().evaluate(DiffusionDPO(kappa=50.0))
    assert torch.equal(one.losses, two.losses)
    assert torch.equal(one.delta, two.delta)


def gradient_at_start(method: Method, setting: Setting) -> tuple[Tensor, Tensor]:
    setting.moves = torch.zeros(2 * PAIRS, *SHAPE, dtype=torch.float64, requires_grad=True)
    evaluation = setting.evaluate(method)
    (gradient,) = torch.autograd.grad(evaluation.losses.sum(), setting.moves)
    return gradient[:PAIRS], gradient[PAIRS:]


def test_f4_gradient_at_the_start_ddspo() -> None:
    setting = Setting()
    of_winner, of_loser = gradient_at_start(DDSPO(kappa=80.0), setting)
    assert torch.equal(of_winner, torch.zeros_like(of_winner))
    expected = 80.0 * setting.gap() / ELEMENTS
    torch.testing.assert_close(of_loser, expected, rtol=1e-12, atol=1e-13)


def test_f4_gradient_at_the_start_diffusion_dpo() -> None:
    setting = Setting()
    of_winner, of_loser = gradient_at_start(DiffusionDPO(kappa=80.0), setting)
    winner, loser = setting.noised()
    ref_w = setting.predict(winner, setting.t, setting.prompt)
    ref_l = setting.predict(loser, setting.t, setting.prompt)
    torch.testing.assert_close(of_winner, 80.0 * (ref_w - setting.noise) / ELEMENTS)
    torch.testing.assert_close(of_loser, -80.0 * (ref_l - setting.noise) / ELEMENTS)


def test_f5_without_degradation_there_is_nothing_to_learn_but_a_saddle() -> None:
    prompt = {"shift": 0.3 * draw(4)}
    setting = Setting(prompt=prompt, degraded=prompt)
    of_winner, of_loser = gradient_at_start(DDSPO(kappa=8000.0), setting)
    assert torch.equal(of_winner, torch.zeros_like(of_winner))
    assert torch.equal(of_loser, torch.zeros_like(of_loser))
    step = 0.1 * draw(9)
    still = torch.zeros_like(step)
    away = Setting(prompt=prompt, degraded=prompt, moves=torch.cat([still, step]))
    back = Setting(prompt=prompt, degraded=prompt, moves=torch.cat([step, still]))
    assert (away.evaluate(DDSPO(kappa=10.0)).losses < LOG_2).all()
    assert (back.evaluate(DDSPO(kappa=10.0)).losses > LOG_2).all()


def test_f6_equal_images_leave_a_linear_argument() -> None:
    same = draw(1)
    move = 0.1 * draw(6)

    def delta(scale: float) -> Tensor:
        setting = Setting(winner=same, loser=same, moves=scale * torch.cat([move, move]))
        return setting.evaluate(DDSPO()).delta

    torch.testing.assert_close(delta(100.0), 100.0 * delta(1.0), rtol=1e-9, atol=0)
    gap = Setting(winner=same, loser=same).gap()
    torch.testing.assert_close(delta(1.0), 2 * per_pair(move * gap) / ELEMENTS)


def test_f7_the_loser_term_has_no_minimum() -> None:
    still = torch.zeros_like(draw(1))
    losses = [
        float(Setting(moves=torch.cat([still, size * draw(8)])).evaluate(DDSPO(kappa=1.0)).loss)
        for size in (1.0, 3.0, 9.0, 27.0)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6


class Swapped(DiffusionDPO):
    """Halves exchanged, together with their targets."""

    def halves(self, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        return super().halves(batch, step)[::-1]


def test_f8_swapping_the_halves_negates_the_argument() -> None:
    setting = Setting()
    straight = setting.evaluate(DiffusionDPO(kappa=3.0))
    moves = torch.cat([setting.moves[PAIRS:], setting.moves[:PAIRS]])
    swapped = replace(setting, moves=moves).evaluate(Swapped(kappa=3.0))
    assert torch.equal(swapped.delta, -straight.delta)
    torch.testing.assert_close(straight.losses - swapped.losses, 3.0 * straight.delta)


def test_f9_a_shift_common_to_policy_reference_and_target_changes_nothing() -> None:
    base = Setting()
    common = 0.5 * draw(11)

    def shifted(x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return base.predict(x_t, t, condition) + common.repeat(len(x_t) // PAIRS, 1, 1, 1)

    # in DDSPO the targets are the reference's own, so they move along
    one, two = base.evaluate(DDSPO()), replace(base, predict=shifted).evaluate(DDSPO())
    torch.testing.assert_close(one.delta, two.delta, rtol=0, atol=1e-13)


def test_f9_permuting_elements_or_pairs_changes_nothing() -> None:
    base = Setting()
    order = torch.randperm(ELEMENTS, generator=torch.Generator().manual_seed(0))

    def shuffle(x: Tensor) -> Tensor:
        return x.flatten(1)[:, order].reshape(x.shape)

    permuted = Setting(
        winner=shuffle(base.winner),
        loser=shuffle(base.loser),
        noise=shuffle(base.noise),
        prompt={"shift": shuffle(base.prompt["shift"])},
        degraded={"shift": shuffle(base.degraded["shift"])},
        moves=shuffle(base.moves),
    )
    for method in (DDSPO(), DiffusionDPO()):
        one, two = base.evaluate(method), permuted.evaluate(method)
        torch.testing.assert_close(one.delta, two.delta, rtol=0, atol=1e-13)
    rows = torch.tensor([3, 1, 4, 0, 2])

    class Turned(Setting):
        @property
        def t(self) -> Tensor:
            return rows * 100

    turned = Turned(
        winner=base.winner[rows],
        loser=base.loser[rows],
        noise=base.noise[rows],
        prompt={"shift": base.prompt["shift"][rows]},
        degraded={"shift": base.degraded["shift"][rows]},
        moves=torch.cat([base.moves[:PAIRS][rows], base.moves[PAIRS:][rows]]),
    )
    for method in (DDSPO(), DiffusionDPO()):
        one, two = base.evaluate(method), turned.evaluate(method)
        torch.testing.assert_close(one.delta[rows], two.delta, rtol=0, atol=1e-14)
        torch.testing.assert_close(one.loss, two.loss)


def test_f10_scaling_all_predictions_is_scaling_kappa_by_the_square() -> None:
    base, factor = Setting(), 3.0

    def scaled(x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return factor * base.predict(x_t, t, condition)

    large = replace(base, predict=scaled, moves=factor * base.moves)
    torch.testing.assert_close(
        large.evaluate(DDSPO(kappa=7.0)).losses,
        base.evaluate(DDSPO(kappa=7.0 * factor**2)).losses,
    )


def test_f10_mean_with_kappa_is_sum_with_beta_over_twice_the_elements() -> None:
    setting, beta_half_mean = Setting(), 600.0
    winner, loser = setting.noised()
    ref_w = setting.predict(winner, setting.t, setting.prompt)
    ref_l = setting.predict(loser, setting.t, setting.prompt)
    dw, dl = setting.moves[:PAIRS], setting.moves[PAIRS:]
    noise = setting.noise
    sums = per_pair((ref_w + dw - noise) ** 2) - per_pair((ref_w - noise) ** 2)
    sums -= per_pair((ref_l + dl - noise) ** 2) - per_pair((ref_l - noise) ** 2)
    inside = -(beta_half_mean / (2 * ELEMENTS)) * sums
    expected = -torch.nn.functional.logsigmoid(inside)
    found = setting.evaluate(DiffusionDPO(kappa=beta_half_mean / 2)).losses
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", BOTH)
def test_f11_parameterisations_of_a_flow_differ_by_a_factor_in_kappa(method: type) -> None:
    """x_t = (1-s) x0 + s eps, network output v = eps - x0; x0 = x_t - s v, eps = x_t + (1-s) v."""
    share = 0.35

    class Flow(Setting):
        gain, offset = 1.0, 0.0

        def step(self) -> StepContext:
            def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
                return (1 - share) * clean + share * noise

            def target(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
                return self.offset * add_noise(clean, noise, t) + self.gain * (noise - clean)

            return StepContext(t=self.t, noise=self.noise, add_noise=add_noise, true_target=target)

        def policy(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
            velocity = self.predict(x_t, t, condition) + self.moves
            return self.offset * x_t + self.gain * velocity

        def reference(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
            return self.offset * x_t + self.gain * self.predict(x_t, t, condition)

    velocity = Flow()
    for gain, factor in ((-share, share**2), (1 - share, (1 - share) ** 2)):
        other = Flow()
        other.gain, other.offset = gain, 1.0
        torch.testing.assert_close(
            other.evaluate(method(kappa=9.0)).losses,
            velocity.evaluate(method(kappa=9.0 * factor)).losses,
        )


@pytest.mark.parametrize("method", BOTH)
def test_f16_autograd_agrees_with_finite_differences(method: type) -> None:
    setting = Setting()
    moves = setting.moves.clone().requires_grad_()
    setting.moves = moves
    (gradient,) = torch.autograd.grad(setting.evaluate(method(kappa=30.0)).loss, moves)
    generator = torch.Generator().manual_seed(1)
    scale = float(gradient.abs().max())
    for _ in range(12):
        place = torch.randint(moves.numel(), (1,), generator=generator).item()
        values = []
        for sign in (1.0, -1.0):
            bumped = moves.detach().clone()
            bumped.view(-1)[place] += sign * 1e-5
            losses = replace(setting, moves=bumped).evaluate(method(kappa=30.0)).loss
            values.append(float(losses))
        slope = (values[0] - values[1]) / 2e-5
        assert slope == pytest.approx(float(gradient.view(-1)[place]), abs=1e-6 * scale)
