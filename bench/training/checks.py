"""What is checked before and in the first step, so that a wrong run stops in seconds."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch
from torch import Tensor

from bench.api.errors import BenchError, UsageError
from bench.api.method import Batch, Method
from bench.backbones.base import Backbone
from bench.training.objective import Evaluation
from bench.training.source import PairSource

LOG = logging.getLogger(__name__)

LATENT_STD = (0.5, 1.5)
START_TOLERANCE = {"no": 1e-6, "bf16": 1e-3, "fp16": 1e-3}
"""How far the first loss may be from link(0), by precision."""

ROUNDINGS = 64
"""Roundings of float32 that two evaluations of one network may differ by: kernels with and without
gradient sum in other orders. A reference that is one optimiser step away differs by far more.
"""


def require_fields(method: Method, batch: Batch) -> None:
    """Make sure that the pairs hold what the method needs.

    Raises:
        UsageError: a field is missing.
    """
    if method.needs.batch_has_loser and batch.loser is None:
        raise UsageError(
            f"{method.name} compares winners with losers and these pairs have no losers; use a set "
            "with losers, or a method that needs winners alone (sft)."
        )
    if method.needs.batch_has_degraded and batch.degraded is None:
        raise UsageError(
            f"{method.name} needs degraded prompts and these pairs have none; build the pairs "
            "with a perturbation."
        )


def require_fit(batch: Batch, backbone: Backbone) -> None:
    """Make sure that latents and conditions are such as the checkpoint takes.

    Args:
        batch: the first pairs of the run.
        backbone: what is trained.

    Raises:
        UsageError: the pairs were made with another family or another size of text encoder.
    """
    mend = (
        f"the pairs were made with another checkpoint than {backbone.checkpoint}; make them with "
        "this one."
    )
    channels = getattr(getattr(backbone.denoiser, "config", None), "in_channels", None)
    for name in ("winner", "loser"):
        latents: Tensor | None = getattr(batch, name)
        if latents is None or channels is None:
            continue
        if latents.ndim != 4 or latents.shape[1] != channels:
            raise UsageError(
                f"the {name} latents have shape {tuple(latents.shape[1:])} each; expected "
                f"({channels}, h, w): {mend}"
            )
    encode = getattr(backbone, "encode_train", backbone.encode_prompts)
    for name, expected in encode([""]).items():
        for which, condition in (("prompt", batch.condition), ("degraded", batch.degraded)):
            if condition is None:
                continue
            if name not in condition:
                raise UsageError(
                    f"the condition of the {which} holds {', '.join(sorted(condition))} and no "
                    f"{name}: {mend}"
                )
            found = tuple(condition[name].shape[1:])
            if found != tuple(expected.shape[1:]):
                raise UsageError(
                    f"{name} of the {which} has shape {found} each; expected "
                    f"{tuple(expected.shape[1:])}: {mend}"
                )


def require_pairing(method: Method, source: PairSource) -> None:
    """Make sure that the source pairs images as the method asks for.

    Raises:
        UsageError: it does not.
    """
    found, wanted = getattr(source, "pairing", "own"), method.needs.pairing
    if found != wanted:
        raise UsageError(
            f"{method.name} needs the pairing {wanted!r}; the pairs have {found!r}. Open them with "
            f"bench.data.pairing.open_pairs(artifact, {wanted!r}), or put bench.data.pairing."
            "RePaired around them."
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


def require_start_at_reference(
    method: Method, batch: Batch, evaluation: Evaluation, precision: str
) -> float:
    """Make sure that the first loss is that of delta = 0: policy and reference start as one.

    Args:
        method: gives the loss.
        batch: the first micro-batch.
        evaluation: of it, before any update.
        precision: the run's, for the tolerance.

    Returns:
        |loss - loss(0)|.

    Raises:
        BenchError: the loss is further from loss(0) than rounding explains. In float32 rounding
            is known by the predictions, as kappa amplifies it; with half precision by the loss.
    """
    zero = torch.zeros_like(evaluation.delta)
    still = replace(batch, mean_delta=zero.mean()) if method.centred else batch
    expected = float(method.losses(zero, still).mean())
    found = float(evaluation.loss.detach())
    deviation = abs(found - expected)
    tolerance = START_TOLERANCE[precision]
    if not deviation <= tolerance:
        if precision == "no" and _is_rounding(evaluation):
            LOG.info(
                "the first loss is %.3g from loss(0): rounding, which the strength of %s amplifies",
                deviation, method.name,
            )  # fmt: skip
            return deviation
        drift = max((float(d.max()) for d in evaluation.drift), default=0.0)
        raise BenchError(
            f"the first loss of {method.name} is {found:.8g}; expected loss(0) = {expected:.8g} "
            f"within {tolerance:g}, because policy and reference are the same network at the "
            f"start. Largest mean square between their predictions: {drift:.3g}. Look for a "
            "reference that is another checkpoint, an adapter that does not start at zero, "
            "random layers, or kernels that are not deterministic."
        )
    return deviation


def _is_rounding(evaluation: Evaluation) -> bool:
    """Whether policy and reference predict the same up to float32 rounding, in every half."""
    unit = ROUNDINGS * torch.finfo(torch.float32).eps
    halves = zip(evaluation.drift, evaluation.reference_errors, strict=True)
    # predictions are about as large as targets (1) and errors together
    return all(bool((drift <= unit**2 * (1.0 + error)).all()) for drift, error in halves)
