"""`tiny-sdxl`: a base model in the format and the classes of SDXL, started from `tiny-sd`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from bench.tiny.build.clip import tokenise
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.noised import noised_batch
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.build.sd import loss_weights
from bench.tiny.build.warm import warm_start
from bench.tiny.world import IMAGE_SIZE

BATCH = 48
STEPS = 3000
STREAM = 31
WIDTHS = (48, 64)
SIZE_WIDTH = 16
"""Width of each of the six numbers that say original size, crop and target size."""


def first_encoder(old: CLIPTextModel) -> CLIPTextModel:
    """Return tiny-sd's text encoder with one layer more, whose output SDXL does not look at.

    SDXL takes the last but one states; they are those of tiny-sd's last layer.
    """
    config = {**old.config.to_dict(), "dtype": "float32"}
    layers = int(config["num_hidden_layers"])
    encoder = CLIPTextModel(CLIPTextConfig(**{**config, "num_hidden_layers": layers + 1}))
    state = dict(old.state_dict())
    for name, tensor in old.state_dict().items():
        if f".layers.{layers - 1}." in f".{name}":
            state[name.replace(f"layers.{layers - 1}.", f"layers.{layers}.")] = tensor
    encoder.load_state_dict(state)
    return encoder.requires_grad_(False).eval()


@torch.no_grad()
def fold_norm(
    unet: UNet2DConditionModel, norm: torch.nn.LayerNorm, states: Tensor
) -> UNet2DConditionModel:
    """Return a UNet for text states before their last norm, equal but for the states' own scale.

    Weights take the norm's gain, the removal of the mean and the mean scale of `states`
    (N, L, D). Its bias adds the same to all keys, which attention does not notice, and to all
    values, which goes into the output's bias.
    """
    scale = 1 / states.var(dim=-1, unbiased=False).add(norm.eps).sqrt().mean()
    copy = UNet2DConditionModel.from_config(unet.config)
    copy.load_state_dict(unet.state_dict())
    for name, module in copy.named_modules():
        if name.endswith("attn2"):
            offset = module.to_v.weight @ norm.bias
            module.to_out[0].bias += module.to_out[0].weight @ offset
            for layer in (module.to_k, module.to_v):
                gained = layer.weight * norm.weight * scale
                layer.weight.copy_(gained - gained.mean(dim=1, keepdim=True))
    return copy


def new_sdxl_unet(
    old: UNet2DConditionModel, second: CLIPTextModelWithProjection
) -> UNet2DConditionModel:
    """Return SDXL's kind of UNet, two transformer layers below one, started from `old`.

    What is new has no effect yet: the second text encoder's states, the pooled vector, the sizes
    and each second layer.
    """
    config = {k: v for k, v in old.config.items() if not k.startswith("_")}
    config.update(
        block_out_channels=WIDTHS,
        cross_attention_dim=old.config.cross_attention_dim + second.config.hidden_size,
        transformer_layers_per_block=[1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_WIDTH,
        projection_class_embeddings_input_dim=second.config.projection_dim + 6 * SIZE_WIDTH,
    )
    unet = UNet2DConditionModel.from_config(config)
    warm_start(unet, old)
    return unet


def sdxl_scheduler(settings: Mapping[str, Any]) -> EulerDiscreteScheduler:
    """Return SDXL's sampler over the noise schedule in `settings`."""
    kept = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "steps_offset")
    return EulerDiscreteScheduler(
        **{name: settings[name] for name in kept}, timestep_spacing="leading"
    )


def train_sdxl(
    scenes: SceneSet,
    latents: np.ndarray,
    start: StableDiffusionPipeline,
    second: CLIPTextModelWithProjection,
    work: Path,
) -> tuple[StableDiffusionXLPipeline, dict[str, Any]]:
    """Train the UNet on captions a quarter of which hold a wrong word; both encoders are frozen.

    Without a caption the text's tensors are zero, as SDXL's pipeline has them.

    Args:
        scenes: pictures with captions.
        latents: their scaled latents (N, 4, h, w).
        start: tiny-sd.
        second: the text tower and projection of tiny-clip.
        work: where the state is kept.
    """
    torch.manual_seed(STREAM)
    first = first_encoder(start.text_encoder)
    second.requires_grad_(False).eval()
    ids = tokenise(start.tokenizer, scenes.captions)
    with torch.no_grad():
        some = first(ids[:500], output_hidden_states=True).hidden_states[-2]
    unet = new_sdxl_unet(fold_norm(start.unet, _last_norm(start.text_encoder), some), second)
    noising = start.scheduler
    weights = loss_weights(noising)
    size = torch.tensor([IMAGE_SIZE, IMAGE_SIZE, 0, 0, IMAGE_SIZE, IMAGE_SIZE]).float()

    def loss_of_step(step: int) -> Tensor:
        batch = noised_batch(latents, np.random.default_rng([STREAM, step]), BATCH, noising)
        kept = (~batch.empty).float()
        with torch.no_grad():
            one, two = (e(ids[batch.picked], output_hidden_states=True) for e in (first, second))
            states = torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1)
        added = {
            "text_embeds": two.text_embeds * kept[:, None],
            "time_ids": size.expand(BATCH, len(size)),
        }
        predicted = unet(
            batch.noisy, batch.t, states * kept[:, None, None], added_cond_kwargs=added
        ).sample
        return batch.loss(predicted, weights[step >= STEPS // 2])

    facts = train_network(
        "tiny-sdxl", unet, loss_of_step, LoopConfig(steps=STEPS, lr=1.2e-3, ema=0.998), work
    )
    pipeline = StableDiffusionXLPipeline(
        vae=start.vae, text_encoder=first, text_encoder_2=second, tokenizer=start.tokenizer,
        tokenizer_2=start.tokenizer, unet=unet, scheduler=sdxl_scheduler(noising.config),
        force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip
    return pipeline, dict(facts)


def _last_norm(encoder: CLIPTextModel) -> torch.nn.LayerNorm:
    (norm,) = (m for n, m in encoder.named_modules() if n.endswith("final_layer_norm"))
    assert isinstance(norm, torch.nn.LayerNorm)
    return norm
