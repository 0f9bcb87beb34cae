"""Links that methods share. Importing this module does not import torch, so that a method's
name, version and settings can be read without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SATURATION = 5.0
"""A logistic link is called saturated where its argument exceeds this in size."""


def preference_loss(delta: Tensor, kappa: float) -> Tensor:
    """Return -logsigmoid(-kappa * delta) for each pair, (B,) -> (B,).

    Source: Diffusion-DPO (Wallace et al. 2023), eq. 14, with kappa = beta_half_mean / 2.
    """
    from torch.nn.functional import logsigmoid

    return -logsigmoid(-kappa * delta)


def is_saturated(delta: Tensor, kappa: float) -> Tensor:
    """Return (B,) booleans: the logistic link's argument is beyond `SATURATION` in size."""
    return (kappa * delta).abs() > SATURATION
