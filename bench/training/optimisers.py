"""What takes the steps: AdamW, or Adafactor as SDXL is trained by Diffusion-DPO."""

from __future__ import annotations

import torch
from torch import nn
from transformers.optimization import Adafactor

from bench.training.config import TrainConfig


def build_optimiser(config: TrainConfig, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimiser that the settings ask for, over some weights."""
    if config.optimiser == "adafactor":
        adafactor: torch.optim.Optimizer = Adafactor(
            weights,
            lr=config.lr,
            weight_decay=config.weight_decay,
            scale_parameter=False,
            relative_step=False,
        )
        return adafactor
    return torch.optim.AdamW(
        weights,
        lr=config.lr,
        betas=config.adam_betas,
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        fused=True,
    )
