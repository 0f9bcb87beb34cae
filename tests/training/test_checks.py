"""The start-up check: what rounding explains passes, another reference does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bench.api.errors import BenchError
from bench.api.method import Batch
from bench.training.checks import require_start_at_reference
from bench.training.objective import Evaluation
from methods.diffusion_dpo import DiffusionDPO

PAIRS = 3
METHOD = DiffusionDPO(kappa=8000.0)


def start(difference: float, relative: float) -> tuple[Evaluation, Batch]:
    """An evaluation whose predictions differ by `relative`, and whose delta is `difference`."""

    def each(value: float) -> Tensor:
        return torch.full((PAIRS,), value)

    batch = Batch(
        winner=torch.zeros(PAIRS, 1, 1, 1),
        loser=None,
        condition={},
        degraded=None,
        index=torch.arange(PAIRS),
    )
    delta = each(difference)
    found = Evaluation(
        losses=METHOD.losses(delta, batch),
        delta=delta,
        errors=(each(1.0), each(1.0)),
        reference_errors=(each(1.0), each(1.0)),
        drift=(each(relative**2), each(relative**2)),
        policy_units=2,
        reference_units=2,
    )
    return found, batch


@pytest.mark.parametrize("strong", [1e-8, 5e-8])
def test_rounding_that_kappa_amplifies_is_no_fault(strong: float) -> None:
    found, batch = start(strong, relative=1e-7)
    deviation = require_start_at_reference(METHOD, batch, found, "no")
    assert deviation == pytest.approx(0.5 * METHOD.kappa * strong, rel=0.05)
    assert deviation > 1e-5


@pytest.mark.parametrize("relative", [1e-4, 2e-3])
def test_another_reference_is_refused(relative: float) -> None:
    found, batch = start(5e-8, relative)
    with pytest.raises(BenchError, match=r"expected loss\(0\)"):
        require_start_at_reference(METHOD, batch, found, "no")
    one = torch.tensor([1e-14] * (PAIRS - 1) + [relative**2])
    mixed = replace(found, drift=(one, torch.zeros(PAIRS)))  # a single pair gives it away
    with pytest.raises(BenchError, match=f"{relative**2:.3g}"):
        require_start_at_reference(METHOD, batch, mixed, "no")


def test_half_precision_is_judged_by_the_loss() -> None:
    small, batch = start(1e-7, relative=1e-7)
    assert require_start_at_reference(METHOD, batch, small, "fp16") < 1e-3
    large, batch = start(1e-6, relative=1e-7)
    assert abs(float(large.loss) - math.log(2)) > 1e-3
    with pytest.raises(BenchError, match=r"expected loss\(0\)"):
        require_start_at_reference(METHOD, batch, large, "fp16")
