"""The checks of a backbone: which pipelines it is for, and what its checkpoint computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.backbones import pipeline_class_of
from bench.validate.checks import Checks

if TYPE_CHECKING:
    from torch import Tensor

_SEED = 0


def check_backbone(load: Callable[..., Any], checks: Checks, checkpoint: str | None) -> None:
    """Check a family's `load_backbone`; facts: `pipelines`, and `latents`, their shape.

    Args:
        load: the function.
        checks: where the outcome is noted.
        checkpoint: folder of a checkpoint; None runs nothing.

    Raises:
        PrerequisiteError: files of the checkpoint are not on this machine.
        ContractError: its module does not say which pipelines it is for.
    """
    checks.facts["pipelines"] = pipeline_class_of(load)
    checks.passed.append("it says which pipelines it is for")
    if checkpoint is None:
        checks.facts["not run"] = "name a checkpoint of the family: --checkpoint DIR"
        return
    import torch

    backbone = checks.attempt(
        "load_backbone(checkpoint)",
        lambda: load(checkpoint, dtype="float32", device="cpu", local_files_only=True),
        mend="take checkpoint, and the keywords revision, dtype, device and local_files_only",
    )
    if backbone is None:
        return
    for name, kind in (
        ("family", str),
        ("denoiser", torch.nn.Module),
        ("denoiser_name", str),
        ("prediction", str),
        ("scaling_factor", float),
        ("num_train_timesteps", int),
        ("lora_targets", tuple),
    ):
        value = getattr(backbone, name, None)
        checks.require(
            isinstance(value, kind) and (name != "prediction" or value in ("epsilon", "flow")),
            f"it has {name}",
            found=repr(value)[:80],
            expected="'epsilon' or 'flow'" if name == "prediction" else f"a {kind.__name__}",
            mend=f"set the attribute `{name}`; see bench.backbones.base.Backbone",
        )
    if checks.clean:
        _computes(backbone, checks)


def _computes(backbone: Any, checks: Checks) -> None:
    import torch

    generator = torch.Generator().manual_seed(_SEED)
    side = int(getattr(backbone.denoiser.config, "sample_size", 8) or 8)
    channels, h, w = backbone.latent_shape(side * _scale(backbone), side * _scale(backbone))
    shape = (2, channels, h, w)
    checks.facts["latents"] = shape[1:]
    clean, noise = (torch.randn(shape, generator=generator) for _ in range(2))
    images = torch.rand(2, 3, h * _scale(backbone), w * _scale(backbone), generator=generator)
    t = _checked("timesteps", lambda: backbone.timesteps(torch.tensor([0.2, 0.8])), (2,), checks)
    condition = checks.attempt(
        "encode_prompts()",
        lambda: backbone.encode_prompts(["a red circle", "two blue squares"]),
        mend="return tensors whose first axis runs over the prompts",
    )
    if t is None or condition is None:
        return
    checks.require(
        all(len(tensor) == 2 for tensor in condition.values()),
        "a condition's first axes run over the prompts",
        found=str({name: tuple(tensor.shape) for name, tensor in condition.items()}),
        expected="2, for two prompts",
        mend="stack what belongs to each prompt on the first axis",
    )
    noised = _checked("add_noise", lambda: backbone.add_noise(clean, noise, t), shape, checks)
    _checked("true_target", lambda: backbone.true_target(clean, noise, t), shape, checks)
    _checked("encode_images", lambda: backbone.encode_images(images), shape, checks)
    _checked("decode", lambda: backbone.decode(clean), tuple(images.shape), checks)
    if noised is not None:
        with torch.no_grad():
            _checked(
                "predict",
                lambda: backbone.predict(backbone.denoiser, noised, t, condition),
                shape,
                checks,
            )


def _scale(backbone: Any) -> int:
    """Return how many pixels a latent is wide."""
    return int(2 ** (len(backbone.vae.config.block_out_channels) - 1))


def _checked(
    name: str, call: Callable[[], Tensor], shape: tuple[int, ...], checks: Checks
) -> Tensor | None:
    """Return what a method of the backbone gives, None where it is not as it must be."""
    import torch

    mend = f"see bench.backbones.base.Backbone.{name}"
    value = checks.attempt(f"{name}()", call, mend=mend)
    if value is None:
        return None
    holds = isinstance(value, torch.Tensor) and tuple(value.shape) == shape
    return (
        value
        if checks.require(
            holds and bool(torch.isfinite(value).all()),
            f"{name}() is finite and has the right shape",
            found=str(tuple(getattr(value, "shape", ()))),
            expected=str(shape),
            mend=mend,
        )
        else None
    )
