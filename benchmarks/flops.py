"""Floating-point operations of the published backbones: `python benchmarks/flops.py`.

One forward of the denoising network for one image of the size it was made for, and one decoding.

Networks of the published configurations on the meta device, where nothing is computed or stored;
counted by `torch.utils.flop_counter` (a multiply-add is two), attention included. The numbers
stand in bench/published/backbones.yaml.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.published import backbones

SD: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL: dict[str, Any] = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SANA: dict[str, Any] = {
    "sample_size": 32,
    "patch_size": 1,
    "num_layers": 28,
    "num_attention_heads": 36,
    "attention_head_dim": 32,
    "num_cross_attention_heads": 16,
    "cross_attention_head_dim": 72,
    "cross_attention_dim": 1152,
}
SD3: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
SD35: dict[str, Any] = {
    **SD3,
    "pos_embed_max_size": 384,
    "dual_attention_layers": list(range(13)),
    "qk_norm": "rms_norm",
}
"""The fields of the published `config.json` that differ from the class's defaults."""


def network(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return a backbone's network and the inputs of one forward for one image, on meta."""
    from diffusers import SanaTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel

    with torch.device("meta"):
        time = torch.ones(1)
        if name in ("sd-1.4", "sd-1.5"):
            inputs = {"sample": torch.ones(1, 4, 64, 64), "text": torch.ones(1, 77, 768)}
            return UNet2DConditionModel(**SD), _unet(inputs, time, {})
        if name == "sdxl":
            inputs = {"sample": torch.ones(1, 4, 128, 128), "text": torch.ones(1, 77, 2048)}
            added = {"text_embeds": torch.ones(1, 1280), "time_ids": torch.ones(1, 6)}
            return UNet2DConditionModel(**SDXL), _unet(inputs, time, added)
        if name == "sana-600m":
            return SanaTransformer2DModel(**SANA), {
                "hidden_states": torch.ones(1, 32, 32, 32),
                "encoder_hidden_states": torch.ones(1, 300, 2304),
                "timestep": time,
            }
        return SD3Transformer2DModel(**(SD3 if name == "sd-3-m" else SD35)), {
            "hidden_states": torch.ones(1, 16, 128, 128),
            "encoder_hidden_states": torch.ones(1, 333, 4096),
            "pooled_projections": torch.ones(1, 2048),
            "timestep": time,
        }


KL: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
"""The decoders of Stable Diffusion 1, XL and 3 differ in the number of latent channels alone."""
DC: dict[str, Any] = {
    "latent_channels": 32,
    "attention_head_dim": 32,
    "decoder_act_fns": "silu",
    "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "decoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "decoder_layers_per_block": [3] * 6,
    "decoder_norm_types": "rms_norm",
    "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "encoder_block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
    "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
    "upsample_block_type": "interpolate",
}


class Decoder(nn.Module):
    """A VAE whose forward decodes."""

    def __init__(self, name: str) -> None:
        """Make the VAE of a backbone on meta."""
        from diffusers import AutoencoderDC, AutoencoderKL

        super().__init__()
        channels = backbones()[name].latent_channels
        with torch.device("meta"):
            self.vae = (
                AutoencoderDC(**DC)
                if name == "sana-600m"
                else AutoencoderKL(latent_channels=channels, **KL)
            )

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents, (B, C, H, W), to images, (B, 3, h, w)."""
        return torch.as_tensor(self.vae.decode(latents).sample)


def decoding(name: str) -> int:
    """Return the operations of decoding one image."""
    backbone = backbones()[name]
    side = backbone.resolution // backbone.downsampling
    latents = torch.ones(1, backbone.latent_channels, side, side, device="meta")
    return count(Decoder(name), {"latents": latents})


def _unet(
    inputs: dict[str, torch.Tensor], time: torch.Tensor, added: dict[str, torch.Tensor]
) -> dict[str, Any]:
    return {
        "sample": inputs["sample"],
        "timestep": time,
        "encoder_hidden_states": inputs["text"],
        "added_cond_kwargs": added or None,
    }


def count(module: nn.Module, inputs: dict[str, Any]) -> int:
    """Return the operations of one forward."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(**inputs)
    return int(counter.get_total_flops())


def main() -> None:
    """Print each backbone's parameters and operations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(backbones()), metavar="BACKBONE")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = {}
    for name in args.names:
        module, inputs = network(name)
        parameters = sum(p.numel() for p in module.parameters())
        forward, decoded = count(module, inputs), decoding(name)
        found[name] = {
            "parameters": parameters,
            "forward_flops": forward,
            "decode_flops": decoded,
        }
        print(
            f"{name:10} {parameters:>13,} parameters; {forward:.4e} forward, {decoded:.4e} decode"
        )
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
