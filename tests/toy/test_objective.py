"""The image runs' own methods and objective on the exact reference, against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from bench.api.method import Batch, Condition, Method, StepContext
from bench.api.registry import METHODS
from bench.spec.request import make_request
from bench.toy.mixture import exact_noise
from bench.toy.network import alphas_cumprod
from bench.toy.ring import Mixture, clean_mixture, means, noisy_mixture
from bench.toy.spec import settings_of
from bench.training.objective import evaluate_halves

RING = settings_of(make_request("fig2")).settings.ring
ALPHAS = alphas_cumprod(1000, 1e-4, 0.02)
KAPPA = 3.0
D = 2


class Exact:
    """The closed-form reference, float64, in the form the objective calls."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture

    def __call__(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        label = condition["label"]
        m = self.mixture
        noise = exact_noise(x[:, :, 0, 0], ALPHAS[t], m.weights[label], m.centres[label], m.std)
        return noise[:, :, None, None]


def setting(pairs: int = 64) -> tuple[Batch, StepContext]:
    generator = torch.Generator().manual_seed(5)
    label = torch.randint(0, 8, (pairs,), generator=generator)
    other = (label + 1) % 8
    mixture = noisy_mixture(RING)
    winner, loser = (mixture.draw(c, generator)[:, :, None, None] for c in (label, other))
    noise = torch.randn(winner.shape, generator=generator, dtype=torch.float64)

    def add_noise(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        alpha = ALPHAS[t].view(-1, 1, 1, 1)
        return alpha.sqrt() * clean + (1.0 - alpha).sqrt() * noise

    batch = Batch(
        winner=winner,
        loser=loser,
        condition={"label": label},
        degraded={"label": other},
        index=torch.arange(pairs),
    )
    step = StepContext(
        t=torch.randint(0, 1000, (pairs,), generator=generator),
        noise=noise,
        add_noise=add_noise,
        true_target=lambda clean, noise, t: noise,
    )
    return batch, step


def method(name: str) -> Method:
    made: Method = METHODS.load(name)(kappa=KAPPA)  # type: ignore[assignment]
    return made


def push(batch: Batch, step: StepContext, reference: Exact) -> tuple[Tensor, Tensor]:
    """Return g = ref(x_l, c⁻) - ref(x_l, c), (B, 2), and x_l,t."""
    assert batch.degraded is not None
    x_t = step.add_noise(batch.loser, step.noise, step.t)
    return (
        reference(x_t, step.t, batch.degraded) - reference(x_t, step.t, batch.condition)
    ).flatten(1), x_t


@pytest.mark.parametrize("name", ["ddspo", "diffusion-dpo"])
def test_at_the_reference_the_loss_is_log_two(name: str) -> None:
    batch, step = setting()
    reference = Exact(noisy_mixture(RING))
    found = evaluate_halves(method(name), batch, step, policy=reference, reference=reference)
    assert torch.equal(found.delta, torch.zeros_like(found.delta))
    assert float(found.loss) == pytest.approx(math.log(2.0), abs=1e-12)


def test_ddspo_has_its_closed_form_under_a_shift() -> None:
    """With policy = reference + v: delta = 2 <v, g> / D; the squares cancel (ddspo, F2 and F6)."""
    batch, step = setting()
    reference = Exact(noisy_mixture(RING))
    v = torch.tensor([0.3, -0.7], dtype=torch.float64)

    def policy(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return reference(x, t, condition) + v[:, None, None]

    found = evaluate_halves(method("ddspo"), batch, step, policy=policy, reference=reference)
    g, _ = push(batch, step, reference)
    assert torch.allclose(found.delta, 2.0 * g @ v / D, rtol=0.0, atol=1e-12)
    assert torch.allclose(found.losses, torch.log1p(torch.exp(KAPPA * 2.0 * g @ v / D)), atol=1e-12)


def test_ddspo_is_guidance_against_the_degraded_prompt() -> None:
    """With d_l = -v g and d_w = 0: -delta = (v^2 + 2 v) mean g^2 (ddspo, F4)."""
    batch, step = setting()
    reference = Exact(noisy_mixture(RING))
    g, _ = push(batch, step, reference)
    scale = 0.25

    def policy(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        shift = torch.cat([torch.zeros_like(g), -scale * g])
        return reference(x, t, condition) + shift[:, :, None, None]

    found = evaluate_halves(method("ddspo"), batch, step, policy=policy, reference=reference)
    expected = -(scale**2 + 2.0 * scale) * g.square().mean(dim=1)
    assert torch.allclose(found.delta, expected, rtol=0.0, atol=1e-12)


def test_the_first_gradients() -> None:
    """DDSPO: 0 for the winner, kappa g / D for the loser. D-DPO: kappa (ref - noise) / D."""
    batch, step = setting()
    reference = Exact(noisy_mixture(RING))
    g, x_l = push(batch, step, reference)
    x_w = step.add_noise(batch.winner, step.noise, step.t)
    for name in ("ddspo", "diffusion-dpo"):
        shift = torch.zeros(2 * len(g), 2, 1, 1, dtype=torch.float64, requires_grad=True)

        def policy(x: Tensor, t: Tensor, condition: Condition, shift: Tensor = shift) -> Tensor:
            return reference(x, t, condition) + shift

        found = evaluate_halves(method(name), batch, step, policy=policy, reference=reference)
        found.losses.sum().backward()
        assert shift.grad is not None
        winner, loser = shift.grad.flatten(1).split(len(g))
        if name == "ddspo":
            assert torch.equal(winner, torch.zeros_like(winner))
            expected = KAPPA * g / D
        else:
            at_winner = reference(x_w, step.t, batch.condition) - step.noise
            at_loser = reference(x_l, step.t, batch.condition) - step.noise
            assert torch.allclose(winner, KAPPA * at_winner.flatten(1) / D, atol=1e-12)
            expected = -KAPPA * at_loser.flatten(1) / D
        assert torch.allclose(loser, expected, rtol=0.0, atol=1e-12)


def test_two_neighbours_push_a_class_outwards() -> None:
    """The paper's remark on shifted centres: for equal Gaussians g is the same at every point, and
    those of the two neighbours add up to a radial one, sqrt(a (1-a)) / v (2 - 2 cos(2 pi / K)) m_c.
    """
    mixture = clean_mixture(RING)
    reference = Exact(mixture)
    generator = torch.Generator().manual_seed(0)
    x = 3.0 * torch.randn(50, 2, 1, 1, generator=generator, dtype=torch.float64)
    t = torch.full((50,), 400)
    label = torch.full((50,), 2)
    own = reference(x, t, {"label": label})
    total = sum(reference(x, t, {"label": (label + side) % 8}) - own for side in (-1, 1))
    assert isinstance(total, Tensor)
    alpha = ALPHAS[400]
    factor = (alpha * (1.0 - alpha)).sqrt() / (alpha * RING.std**2 + 1.0 - alpha)
    expected = factor * (2.0 - 2.0 * math.cos(2.0 * math.pi / 8)) * means(RING)[2]
    assert torch.allclose(total.flatten(1), expected.expand(50, 2), rtol=0.0, atol=1e-10)


def test_the_forwards_that_are_counted() -> None:
    """DDSPO costs 9 forwards of a half and Diffusion-DPO 8: what the equal-cost column uses."""
    batch, step = setting(4)
    reference = Exact(noisy_mixture(RING))
    units = {
        name: evaluate_halves(
            method(name), batch, step, policy=reference, reference=reference
        ).cost_units("full")
        for name in ("ddspo", "diffusion-dpo")
    }
    assert units == {"ddspo": 9, "diffusion-dpo": 8}
