"""Small networks of the real classes with weights that depend on nothing but a seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bench.backbones.sd import StableDiffusionBackbone
from bench.training.source import TensorPairs

WORDS = ("a", "red", "blue", "circle", "square", "and", "two", "left", "of")
TEXT_WIDTH = 16
TOKENS = 8
LATENT = (4, 4, 4)


def fill(module: nn.Module, seed: int) -> nn.Module:
    """Give every parameter values from a counter-based generator, scaled by its fan-in."""
    for number, parameter in enumerate(module.parameters()):
        generator = np.random.Generator(np.random.Philox(key=[seed, number]))
        values = torch.from_numpy(
            generator.standard_normal(tuple(parameter.shape), dtype=np.float32)
        )
        with torch.no_grad():
            if parameter.ndim >= 2:
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.1 * values)
    for submodule in module.modules():
        if isinstance(submodule, nn.GroupNorm | nn.LayerNorm) and submodule.weight is not None:
            with torch.no_grad():
                submodule.weight.add_(1.0)
    return module


def tiny_unet(seed: int = 0, **overrides: Any) -> UNet2DConditionModel:
    """Two levels, about 60 thousand parameters."""
    config: dict[str, Any] = {
        "sample_size": LATENT[1],
        "in_channels": LATENT[0],
        "out_channels": LATENT[0],
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    unet = UNet2DConditionModel(**{**config, **overrides})
    return fill(unet, seed).eval()  # type: ignore[return-value]


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer of nine words, written to and read from `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = letters + [letter + "</w>" for letter in letters]
    merges: list[str] = []
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merge = f"{pieces[0]} {pieces[1]}"
            if merge not in merges:
                merges.append(merge)
                tokens.append(pieces[0] + pieces[1])
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer"})
    )
    return CLIPTokenizer.from_pretrained(folder)


def tiny_backbone(folder: Path, seed: int = 0, **unet_overrides: Any) -> StableDiffusionBackbone:
    """A whole SD-1.x pipeline of toy width: 8x8 images, latents of 4x4x4."""
    tokenizer = tiny_tokenizer(folder / "tiny-tokenizer")
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 8),
        layers_per_block=1,
        latent_channels=LATENT[0],
        norm_num_groups=4,
        scaling_factor=0.9,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    )
    return StableDiffusionBackbone(
        checkpoint=str(folder),
        revision=None,
        tokenizer=tokenizer,
        text_encoder=fill(CLIPTextModel(text_config), seed + 1),
        vae=fill(vae, seed + 2),
        denoiser=tiny_unet(seed, **unet_overrides),
        scheduler=scheduler,
    )


def normal(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal numbers that depend on the seed alone."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    values = torch.from_numpy(generator.standard_normal(tuple(shape), dtype=np.float32))
    return values.to(torch.get_default_dtype())


def tiny_pairs(count: int = 12, seed: int = 7, **options: Any) -> TensorPairs:
    """Random pairs for the tiny networks; loser and degraded text differ from the winner's."""
    winner = normal((count, *LATENT), seed)
    return TensorPairs(
        winner=winner,
        loser=0.8 * winner + 0.6 * normal((count, *LATENT), seed + 1),
        condition={"encoder_hidden_states": normal((count, TOKENS, TEXT_WIDTH), seed + 2)},
        degraded={"encoder_hidden_states": normal((count, TOKENS, TEXT_WIDTH), seed + 3)},
        **options,
    )
