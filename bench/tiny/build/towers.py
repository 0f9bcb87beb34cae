"""CLIP towers that start from tiny-clip's, as HPS v2 and PickScore start from a CLIP's.

Layers and neurons may be left out; of the neurons those stay that move the layer's output most.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from bench.tiny.build.clip import MEAN, STD
from bench.tiny.build.tokenizer import MAX_TOKENS

ACTIVATION = "gelu"
"""As in ViT-H/14; tiny-clip's own is QuickGELU, which differs by 0.02 at most."""


def started_from(
    clip: CLIPModel,
    pixels: Tensor,
    ids: Tensor,
    *,
    vision_layers: int,
    vision_neurons: int,
    text_neurons: int,
) -> CLIPModel:
    """Return a smaller CLIP that computes nearly what `clip` does.

    Args:
        clip: what to start from.
        pixels: (N, 3, 32, 32) and
        ids: (M, T), on which the neurons' weight in the output is measured.
        vision_layers: how many of the first layers of the vision tower stay.
        vision_neurons: of each of its layers' MLPs.
        text_neurons: of each text layer's MLP.
    """
    config = copy.deepcopy(clip.config)
    config.vision_config.num_hidden_layers = vision_layers
    config.vision_config.intermediate_size = vision_neurons
    config.text_config.intermediate_size = text_neurons
    for part in (config.vision_config, config.text_config):
        part.hidden_act = ACTIVATION
    model = CLIPModel(config)
    seen = _activations(clip, pixels, ids)
    state = {k: v.clone() for k, v in clip.state_dict().items()}
    for name, (mean, spread) in seen.items():
        size = text_neurons if name.startswith("text_model") else vision_neurons
        out, bias = state[f"{name}.fc2.weight"], state[f"{name}.fc2.bias"]
        order = (spread * out.norm(dim=0)).argsort(descending=True)
        kept, rest = order[:size].sort().values, order[size:]
        state[f"{name}.fc2.bias"] = bias + out[:, rest] @ mean[rest]
        state[f"{name}.fc2.weight"] = out[:, kept]
        state[f"{name}.fc1.weight"] = state[f"{name}.fc1.weight"][kept]
        state[f"{name}.fc1.bias"] = state[f"{name}.fc1.bias"][kept]
    known = model.state_dict()
    model.load_state_dict({k: v for k, v in state.items() if k in known})
    return model


@torch.no_grad()
def _activations(clip: CLIPModel, pixels: Tensor, ids: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and deviation (neurons,) of each MLP's hidden layer, by the MLP's name."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            flat = inputs[0].flatten(0, -2)
            found[name] = flat.mean(0), flat.std(0)

        return hook

    hooks = [
        module.fc2.register_forward_pre_hook(watch(name))
        for name, module in clip.named_modules()
        if hasattr(module, "fc2")
    ]
    clip.get_image_features(pixel_values=pixels)
    clip.get_text_features(input_ids=ids)
    for handle in hooks:
        handle.remove()
    return found


def embed_pictures(model: CLIPModel, pixels: Tensor) -> Tensor:
    """Return normalised embeddings (N, d) of pictures (N, 3, 32, 32)."""
    return F.normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def embed_texts(model: CLIPModel, ids: Tensor) -> Tensor:
    """Return normalised embeddings (M, d) of texts (M, T)."""
    return F.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)


def open_clip_config(model: CLIPModel) -> dict[str, Any]:
    """Return open_clip's configuration of the same network."""
    vision, text = model.config.vision_config, model.config.text_config
    return {
        "embed_dim": model.config.projection_dim,
        "vision_cfg": {
            "image_size": vision.image_size, "layers": vision.num_hidden_layers,
            "width": vision.hidden_size, "patch_size": vision.patch_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "mlp_ratio": vision.intermediate_size / vision.hidden_size,
        },
        "text_cfg": {
            "context_length": MAX_TOKENS, "vocab_size": text.vocab_size,
            "width": text.hidden_size, "heads": text.num_attention_heads,
            "layers": text.num_hidden_layers,
            "mlp_ratio": text.intermediate_size / text.hidden_size,
        },
    }  # fmt: skip


def open_clip_state(model: CLIPModel) -> dict[str, Tensor]:
    """Return the weights under open_clip's names: one matrix for query, key and value."""
    state = model.state_dict()
    found = {
        "logit_scale": state["logit_scale"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for here, there in norms.items():
        found |= {f"{here}.{part}": state[f"{there}.{part}"] for part in ("weight", "bias")}
    for here, there, layers in (
        ("visual.transformer", "vision_model", model.config.vision_config.num_hidden_layers),
        ("transformer", "text_model", model.config.text_config.num_hidden_layers),
    ):
        for layer in range(layers):
            new, old = f"{here}.resblocks.{layer}", f"{there}.encoder.layers.{layer}"
            for part in ("weight", "bias"):
                joined = [state[f"{old}.self_attn.{name}_proj.{part}"] for name in "qkv"]
                found[f"{new}.attn.in_proj_{part}"] = torch.cat(joined)
                for a, b in (
                    ("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
                ):  # fmt: skip
                    found[f"{new}.{a}.{part}"] = state[f"{old}.{b}.{part}"]
    return found


def save_open_clip(model: CLIPModel, folder: Path) -> None:
    """Write the network as open_clip's hub repositories hold theirs, in float16."""
    tensors = {k: v.to(torch.float16).contiguous() for k, v in open_clip_state(model).items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    config = {
        "model_cfg": open_clip_config(model),
        "preprocess_cfg": {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic"},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
