"""A Stable Diffusion pipeline of toy width with random weights, in the tiny world's format.

32x32 images, latents 4x8x8, the world's own tokenizer. Its images are noise; the code they come
out of is the one that samples from real checkpoints.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from bench.tiny.build.tokenizer import MAX_TOKENS, build_tokenizer

TEXT_WIDTH = 16


def toy_pipeline(seed: int = 0, **unet: Any) -> StableDiffusionPipeline:
    """Return the pipeline; `unet` overrides the network's configuration."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    width = int(unet.get("cross_attention_dim", TEXT_WIDTH))
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        mid_block_add_attention=False,
        scaling_factor=0.8,
    )
    config = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "cross_attention_dim": width,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    network = UNet2DConditionModel(**{**config, **unet})
    # untrained, a text would change next to nothing
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".attn2.to_out" in name or ".attn2.to_v" in name:
                parameter.mul_(8.0)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=network,
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_toy_checkpoint(folder: Path, seed: int = 0, **unet: Any) -> Path:
    """Write the pipeline to `folder` as `save_pretrained` does, and return it."""
    toy_pipeline(seed, **unet).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline's folder; import this fixture in the conftest of the tests that use it."""
    return write_toy_checkpoint(tmp_path_factory.mktemp("toy") / "toy-sd")
