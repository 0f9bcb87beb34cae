"""What is checked before and in the first step, so that a wrong run stops in seconds."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.api.errors import BenchError, UsageError
from bench.api.method import Batch, Method
from bench.backbones.base import Backbone
from bench.training.objective import Evaluation

LATENT_STD = (0.5, 1.5)
START_TOLERANCE = {"no": 1e-6, "bf16": 1e-3, "fp16": 1e-3}
"""How far the first loss may be from link(0), by precision; kappa amplifies rounding."""


def require_fields(method: Method, batch: Batch) -> None:
    """Make sure that the pairs hold what the method needs.

    Raises:
        UsageError: a field is missing.
    """
    if method.needs.degraded and batch.degraded is None:
        raise UsageError(
            f"{method.name} needs degraded prompts and these pairs have none; build the pairs "
            "with a perturbation."
        )


def require_latent_scale(batch: Batch, backbone: Backbone, names: tuple[str, ...]) -> None:
    """Make sure that latents are scaled once: their standard deviation is about 1.

    Args:
        batch: the first pairs of the run.
        backbone: for the message.
        names: fields to look at, `"winner"` and `"loser"`.

    Raises:
        UsageError: a standard deviation is outside `LATENT_STD`.
    """
    low, high = LATENT_STD
    for name in names:
        latents: Tensor = getattr(batch, name)
        std = float(latents.float().std())
        if not low <= std <= high:
            raise UsageError(
                f"the {name} latents have standard deviation {std:.3g}; expected {low} to {high}. "
                "Latents must be multiplied by the VAE's scaling factor "
                f"({backbone.scaling_factor:g}) exactly once, when the pairs are built."
            )


def require_start_at_reference(method: Method, evaluation: Evaluation, precision: str) -> float:
    """Make sure that the first loss is link(0): policy and reference are one at the start.

    Args:
        method: gives the link.
        evaluation: of the first micro-batch, before any update.
        precision: the run's, for the tolerance.

    Returns:
        |loss - link(0)|.

    Raises:
        BenchError: the loss is further from link(0) than rounding explains.
    """
    expected = float(method.link(torch.zeros_like(evaluation.delta)).mean())
    found = float(evaluation.loss.detach())
    deviation = abs(found - expected)
    tolerance = START_TOLERANCE[precision]
    if not deviation <= tolerance:
        drift = max((float(d.max()) for d in evaluation.drift), default=0.0)
        raise BenchError(
            f"the first loss of {method.name} is {found:.8g}; expected link(0) = {expected:.8g} "
            f"within {tolerance:g}, because policy and reference are the same network at the "
            f"start. Largest mean square between their predictions: {drift:.3g}. Look for a "
            "reference that is another checkpoint, an adapter that does not start at zero, "
            "random layers, or kernels that are not deterministic."
        )
    return deviation
