"""The two networks of a run: the policy that is trained and the frozen reference.

Where the reference comes from:

| kind              | what it is                                       | memory       |
|-------------------|--------------------------------------------------|--------------|
| adapter_off       | the policy's network with its adapter switched off | none       |
| adapter_copy      | a second, frozen adapter with the starting weights | an adapter |
| frozen_copy       | a copy of the network as it starts                | a network    |
| frozen_checkpoint | another checkpoint, e.g. of an earlier stage      | a network    |

`adapter_off` is the base, so it is right only where the policy starts from the base.

No network is held that is not used, and none in a precision that nobody sees: a training that has
the checkpoint for itself takes the base as its policy and lets go of the rest (`release`), and with
mixed precision frozen weights are kept as autocast would cast them in each forward (`keep_half`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from bench.api.errors import UsageError
from bench.api.method import Condition, Method
from bench.backbones.base import Backbone, place
from bench.backbones.lora import attach
from bench.training.config import TrainConfig
from bench.training.export import POLICY, folder_kind, load_export
from bench.training.objective import Predict
from bench.training.randomness import torch_seed

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CAST = (nn.Linear, nn.Conv2d)
_PARTS = ("vae", "text_encoder", "text_encoder_2", "text_encoder_3")

REFERENCE = "reference"
"""Name of the frozen adapter of `adapter_copy`."""


def build_policy(
    backbone: Backbone, config: TrainConfig, start_from: Path | None, *, take_base: bool = False
) -> nn.Module:
    """Return the network to train, float32, on the CPU, with only the trained weights open.

    Args:
        backbone: where the base network is copied from.
        config: mode and adapter settings; `seed` gives the adapter's first weights.
        start_from: an export to start from, or None for the base.
        take_base: whether the base network itself is trained, in place of a copy.

    Raises:
        UsageError: start and mode do not fit together.
        PrerequisiteError: `start_from` holds no network.
    """
    kind = None if start_from is None else folder_kind(start_from)
    if kind in ("network", "pipeline") and config.mode == "lora":
        raise UsageError(
            f"{start_from} is a full network and mode is 'lora': the adapter alone would not be "
            "the result. Load that network as the backbone's checkpoint, or use mode 'full'."
        )
    if start_from is not None and kind != "lora":
        denoiser = load_export(backbone, start_from, dtype=torch.float32, device="cpu")
    else:
        base = backbone.denoiser if take_base else copy.deepcopy(backbone.denoiser)
        denoiser = place(base, "cpu", torch.float32)
    denoiser.requires_grad_(False)
    if start_from is not None and kind == "lora":
        attach(denoiser, start_from, POLICY, component=backbone.denoiser_name)
        if config.mode == "full":
            denoiser.fuse_lora(adapter_names=[POLICY])  # type: ignore[operator]
            denoiser.unload_lora()  # type: ignore[operator]
        else:
            _require_same_adapter(denoiser, config, start_from)
    elif config.mode == "lora":
        _add_adapter(denoiser, backbone, config)
    if config.mode == "full":
        denoiser.requires_grad_(True)
    else:
        _open_adapter(denoiser, POLICY)
    if config.gradient_checkpointing:
        denoiser.enable_gradient_checkpointing()  # type: ignore[operator]
    return denoiser.train()


def _add_adapter(denoiser: nn.Module, backbone: Backbone, config: TrainConfig) -> None:
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.lora_targets or backbone.lora_targets),
        init_lora_weights="gaussian",
        lora_dropout=0.0,  # the reference would differ from the policy otherwise
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.seed, "adapter"))
        denoiser.add_adapter(lora, adapter_name=POLICY)  # type: ignore[operator]


def _require_same_adapter(denoiser: nn.Module, config: TrainConfig, start_from: Path) -> None:
    found: Any = denoiser.peft_config[POLICY]  # type: ignore[index]
    if (found.r, float(found.lora_alpha)) != (config.lora_rank, float(config.lora_alpha)):
        raise UsageError(
            f"{start_from} holds an adapter of rank {found.r} and alpha {found.lora_alpha}; the "
            f"settings say rank {config.lora_rank} and alpha {config.lora_alpha}. Set lora_rank "
            "and lora_alpha to the adapter's."
        )


def _open_adapter(denoiser: nn.Module, name: str) -> None:
    for layer in _adapter_layers(denoiser):
        layer.set_adapter(name)


def _adapter_layers(denoiser: nn.Module) -> list[Any]:
    return [module for module in denoiser.modules() if isinstance(module, BaseTunerLayer)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The frozen reference.

    Attributes:
        kind: as in the module's table.
        module: the network it is part of (the policy's own for the adapter kinds).
        predict: its prediction; call it without gradient.
        starts_equal: whether it is the policy as the training starts.
    """

    kind: str
    module: nn.Module
    predict: Predict
    starts_equal: bool


def resolve_reference(method: Method, config: TrainConfig, start_from: Path | None) -> str | None:
    """Return the kind that `"auto"` stands for, or the one asked for; None if none is needed.

    Raises:
        UsageError: `adapter_off` was asked for and the policy starts from an adapter.
    """
    if not method.uses_reference:
        return None
    if config.reference == "adapter_off" and start_from is not None:
        raise UsageError(
            f"reference 'adapter_off' is the base, but the policy starts from {start_from}. Use "
            "'adapter_copy' (the start) or 'frozen_checkpoint' (any other network)."
        )
    if config.reference != "auto":
        return config.reference
    if config.mode == "full":
        return "frozen_copy"
    return "adapter_off" if start_from is None else "adapter_copy"


def build_reference(
    kind: str,
    backbone: Backbone,
    config: TrainConfig,
    policy: nn.Module,
    start_from: Path | None = None,
) -> Reference:
    """Return the reference of `kind` for a policy that `build_policy` made.

    Raises:
        UsageError: the network has dropout, so that policy and reference would differ.
        PrerequisiteError: the reference checkpoint holds no network.
    """
    _require_no_dropout(policy)
    if kind in ("adapter_off", "adapter_copy"):
        if kind == "adapter_copy":
            _copy_adapter(policy)
        layers = _adapter_layers(policy)
        switch = _adapters_off if kind == "adapter_off" else _reference_adapter

        def predict(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
            # the adapter must be back before the policy's backward runs: gradient checkpointing
            # repeats the forward there
            with switch(layers):
                return backbone.predict(policy, x_t, t, condition)

        return Reference(kind=kind, module=policy, predict=predict, starts_equal=True)

    starts_equal = True
    if kind == "frozen_copy":
        module = copy.deepcopy(policy)
    else:
        assert config.reference_checkpoint is not None
        folder = Path(config.reference_checkpoint)
        starts_equal = start_from is not None and folder.resolve() == start_from.resolve()
        module = load_export(backbone, folder, adapter=REFERENCE, dtype=torch.float32, device="cpu")
    module.requires_grad_(False).eval()

    def predict_frozen(x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return backbone.predict(module, x_t, t, condition)

    return Reference(kind=kind, module=module, predict=predict_frozen, starts_equal=starts_equal)


def keep_half(network: nn.Module, precision: str) -> None:
    """Keep a network's frozen matrices and kernels in the dtype that autocast casts them to.

    Every forward then computes with the very numbers it computed with before, and they take half
    the memory. Norms, embeddings and tables stay float32: autocast leaves those as they are.

    Args:
        network: of which only what is not trained is changed.
        precision: the run's; with `"no"` nothing is.
    """
    dtype = _AUTOCAST.get(precision)
    for module in network.modules() if dtype is not None else ():
        if isinstance(module, _CAST):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)


def release(backbone: Backbone) -> None:
    """Let go of a checkpoint's VAE and text encoders, which a training on latents does not use."""
    for name in _PARTS:
        part = getattr(backbone, name, None)
        if isinstance(part, nn.Module):
            part.to("meta")  # its configuration is asked for still


def _copy_adapter(policy: nn.Module) -> None:
    config = copy.deepcopy(policy.peft_config[POLICY])  # type: ignore[index]
    with warnings.catch_warnings():
        # peft asks whether a second adapter is meant; it is
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        policy.add_adapter(config, adapter_name=REFERENCE)  # type: ignore[operator]
    state = policy.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            if f".{REFERENCE}." in name:
                tensor.copy_(state[name.replace(f".{REFERENCE}.", f".{POLICY}.")])
    _open_adapter(policy, POLICY)


@contextmanager
def _adapters_off(layers: list[Any]) -> Iterator[None]:
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def _reference_adapter(layers: list[Any]) -> Iterator[None]:
    for layer in layers:
        layer.set_adapter(REFERENCE, inference_mode=True)
    try:
        yield
    finally:
        for layer in layers:
            layer.set_adapter(POLICY)


def _require_no_dropout(policy: nn.Module) -> None:
    for name, module in policy.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            raise UsageError(
                f"{name} drops out {module.p:g} of its inputs, so the policy would differ from "
                "its reference at random. Set dropout to 0 in the network's config.json."
            )
