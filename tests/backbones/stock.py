"""An export beside the library's own pipeline: both sample the same pictures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.api.generation import GenerationSpec
from bench.backbones.base import Backbone
from bench.generation.sample import Sampler
from bench.training.export import load_export
from tests.tiny_families import PROMPTS, side

SEEDS = (11, 12)
OPTIONS: dict[str, dict[str, Any]] = {"sana": {"use_resolution_binning": False}}
"""Without it the pipeline makes images of one of its own sizes."""


def spec_of(backbone: Backbone) -> GenerationSpec:
    """Three steps with guidance, at the family's toy size."""
    pixels = side(backbone.family)
    return GenerationSpec(steps=3, cfg_scale=4.0, height=pixels, width=pixels, dtype="float32")


def assert_stock_samples_alike(
    folder: Path, backbone: Backbone, export: Path, mode: str, *, moved: bool = True
) -> None:
    """Sample two prompts from an export here, and with `from_pretrained` or `load_lora_weights`.

    Args:
        folder: the checkpoint that was trained.
        backbone: the same, loaded.
        export: of a training.
        mode: `"full"` or `"lora"`.
        moved: the pictures must be other ones than the base's.
    """
    trained = copy.copy(backbone)
    trained.denoiser = load_export(backbone, export)
    spec = spec_of(backbone)
    ours = Sampler(trained, spec).images(PROMPTS[:2], list(SEEDS))
    if moved:
        assert not np.array_equal(ours, Sampler(backbone, spec).images(PROMPTS[:2], list(SEEDS)))
    stock_class = type(backbone.pipeline())
    if mode == "full":
        loaded = type(backbone.denoiser).from_pretrained(export)  # type: ignore[attr-defined]
        stock = stock_class.from_pretrained(folder, **{backbone.denoiser_name: loaded})
    else:
        stock = stock_class.from_pretrained(folder)
        stock.load_lora_weights(export)
    stock.set_progress_bar_config(disable=True)
    for row, (prompt, seed) in enumerate(zip(PROMPTS[:2], SEEDS, strict=True)):
        image = stock(
            prompt,
            num_inference_steps=spec.steps,
            guidance_scale=spec.cfg_scale,
            height=spec.height,
            width=spec.width,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            **OPTIONS.get(backbone.family, {}),
        ).images[0]
        # one step of 255 where rounding falls the other way
        assert np.abs(np.round(image * 255) - ours[row]).max() <= 1
