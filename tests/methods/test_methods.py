from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.api.errors import ContractError
from bench.api.method import Batch, FromReference, Half, Method, StepContext
from bench.training.objective import mean_square
from methods.ddspo import DDSPO
from methods.diffusion_dpo import DiffusionDPO
from methods.sft import SFT
from tests.methods.fields import PAIRS, SHAPE, Setting

ROOT = Path(__file__).parents[2]


def shifts(condition: Mapping[str, Tensor]) -> Tensor:
    return condition["shift"]


def test_ddspo_conditions_policy_and_reference_on_the_prompt_in_both_halves() -> None:
    setting = Setting()
    setting.evaluate(DDSPO())
    prompt, degraded = setting.prompt["shift"], setting.degraded["shift"]
    (policy,) = [c for who, _, c in setting.calls if who == "policy"]
    assert torch.equal(shifts(policy), torch.cat([prompt, prompt]))
    halves, target = [(x, c) for who, x, c in setting.calls if who == "reference"]
    assert torch.equal(shifts(halves[1]), torch.cat([prompt, prompt]))
    # c⁻ is seen once: by the reference, at the noised loser
    assert torch.equal(shifts(target[1]), degraded)
    assert torch.equal(target[0], setting.noised()[1])


def test_ddspo_needs_degraded_prompts() -> None:
    setting = Setting()
    halves = DDSPO().halves(setting.batch(), setting.step())
    batch = Batch(**{**vars(setting.batch()), "degraded": None})
    with pytest.raises(ContractError, match="degraded"):
        DDSPO().targets(halves, batch, setting.step())
    assert DDSPO.needs.degraded and not DiffusionDPO.needs.degraded


def test_ddspo_reuses_the_winner_target() -> None:
    setting, again = Setting(), Setting()
    reused = setting.evaluate(DDSPO())
    computed = again.evaluate(DDSPO(), reuse_reference=False)
    assert torch.equal(reused.losses, computed.losses)
    assert torch.equal(reused.reference_errors[0], torch.zeros(PAIRS, dtype=torch.float64))
    forwards = [len(x) // PAIRS for who, x, _ in setting.calls if who == "reference"]
    assert forwards == [2, 1]
    assert [len(x) // PAIRS for who, x, _ in again.calls if who == "reference"] == [2, 2]


@pytest.mark.parametrize(("mode", "reused", "computed"), [("full", 9, 10), ("lora", 7, 8)])
def test_cost_of_a_ddspo_step(mode: str, reused: int, computed: int) -> None:
    assert Setting().evaluate(DDSPO()).cost_units(mode) == reused
    assert Setting().evaluate(DDSPO(), reuse_reference=False).cost_units(mode) == computed


def test_a_copied_condition_mapping_is_still_recognised() -> None:
    class Copies(DDSPO):
        def targets(
            self, halves: tuple[Half, ...], batch: Batch, step: StepContext
        ) -> tuple[Tensor | FromReference, ...]:
            return tuple(
                FromReference(half=half, condition=dict(condition))
                for half, condition in zip(
                    halves, (batch.condition, batch.degraded or {}), strict=True
                )
            )

    evaluation = Setting().evaluate(Copies())
    assert evaluation.reference_units == 3
    assert torch.equal(evaluation.losses, Setting().evaluate(DDSPO()).losses)


def test_identical_degradation_costs_no_extra_forward() -> None:
    setting = Setting()
    setting.degraded = setting.prompt
    evaluation = setting.evaluate(DDSPO())
    assert evaluation.reference_units == 2
    assert torch.equal(evaluation.reference_errors[1], torch.zeros(PAIRS, dtype=torch.float64))


def test_the_mean_over_pairs_is_outside_the_link() -> None:
    kappa = 200.0
    evaluation = Setting().evaluate(DiffusionDPO(kappa=kappa))
    margins = [-kappa * d for d in evaluation.delta.tolist()]
    assert max(margins) - min(margins) > 1.0
    by_hand = sum(math.log1p(math.exp(-m)) for m in margins) / len(margins)
    assert float(evaluation.loss) == pytest.approx(by_hand, rel=1e-12)
    inside = math.log1p(math.exp(-sum(margins) / len(margins)))
    assert abs(by_hand - inside) > 1e-3


def test_sft_is_the_denoising_loss_of_winners() -> None:
    setting = Setting()
    evaluation = setting.evaluate(SFT())
    winner, _ = setting.noised()
    prediction = setting.predict(winner, setting.t, setting.prompt) + setting.moves[:PAIRS]
    expected = torch.nn.functional.mse_loss(prediction, setting.noise)
    assert float(evaluation.loss) == pytest.approx(float(expected), rel=1e-14)
    assert evaluation.reference_units == 0
    assert [who for who, _, _ in setting.calls] == ["policy"]


def test_errors_of_half_precision_predictions_are_float32() -> None:
    big = torch.full((1, 4), 300.0, dtype=torch.float16)
    error = mean_square(big, torch.zeros(1, 4, dtype=torch.float16))
    assert error.dtype is torch.float32  # 300^2 overflows float16
    assert float(error) == 90000.0


def test_saturation_is_the_share_of_large_arguments() -> None:
    delta = torch.tensor([0.0, 0.06, -0.06, 0.04])
    assert DDSPO(kappa=100.0).saturation(delta).tolist() == [False, True, True, False]


@dataclass(frozen=True, kw_only=True)
class Broken(DiffusionDPO):
    fault: str

    def halves(self, batch: Batch, step: StepContext) -> tuple[Half, ...]:
        halves = super().halves(batch, step)
        return (*halves, halves[0]) if self.fault == "halves" else halves

    def targets(
        self, halves: tuple[Half, ...], batch: Batch, step: StepContext
    ) -> tuple[Tensor | FromReference, ...]:
        targets = super().targets(halves, batch, step)
        if self.fault == "count":
            return targets[:1]
        if self.fault == "shape":
            return tuple(t[:, :1] if isinstance(t, Tensor) else t for t in targets)
        return targets

    def link(self, delta: Tensor) -> Tensor:
        return super().link(delta).mean() if self.fault == "link" else super().link(delta)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("halves", "3 halves"),
        ("count", "1 targets for 2 halves"),
        ("shape", "shape"),
        ("link", "one loss per pair"),
    ],
)
def test_a_method_that_breaks_the_contract_is_told_how(fault: str, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        Setting().evaluate(Broken(fault=fault))


def test_a_reference_that_was_not_made_is_named() -> None:
    class Undeclared(DDSPO):
        uses_reference = False

    from bench.training.objective import evaluate_halves

    setting = Setting()
    with pytest.raises(ContractError, match="uses_reference"):
        evaluate_halves(
            Undeclared(), setting.batch(), setting.step(), policy=setting.policy, reference=None
        )


@pytest.mark.parametrize("method", [SFT(), DiffusionDPO(), DDSPO()])
def test_configuration_holds_the_hyperparameters_alone(method: Method) -> None:
    expected = {} if isinstance(method, SFT) else {"kappa": getattr(method, "kappa", None)}
    assert method.config() == expected
    assert len(SHAPE) == 3


def test_reading_a_method_does_not_import_torch() -> None:
    code = (
        "import sys, methods.sft, methods.diffusion_dpo, methods.ddspo;"
        "import bench.training.config, bench.training.beta;"
        "methods.ddspo.DDSPO(kappa=3.0).config(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
