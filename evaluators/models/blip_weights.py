"""BLIP's original VQA checkpoint put into transformers' BlipForQuestionAnswering, by name.

transformers' own configuration departs from the original twice: 384 pixels, and a vision epsilon
of 1e-5 in place of 1e-6. Here sizes are read off the tensors. Source of the names: salesforce/BLIP
models/vit.py and models/med.py as in Karine-Huang/T2I-CompBench@1b70949:BLIPvqa_eval/models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from bench.api.errors import CorruptArtifactError
from bench.read.weights import load_torch

PATCH = 16
VISION_EPSILON = 1e-6
TEXT_EPSILON = 1e-12
HEAD_WIDTH = 64

_LEFT_OUT = re.compile(r"(\.|^)position_ids$|^(visual_encoder|text_encoder)_m\.")
"""Buffers, and the averaged copies that are kept for training only."""
_RENAMED = (
    (r"^visual_encoder\.cls_token$", "vision_model.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision_model.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (
        r"^visual_encoder\.blocks\.(\d+)\.norm(\d)\.",
        r"vision_model.encoder.layers.\1.layer_norm\2.",
    ),
    (
        r"^visual_encoder\.blocks\.(\d+)\.attn\.proj\.",
        r"vision_model.encoder.layers.\1.self_attn.projection.",
    ),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.", r"vision_model.encoder.layers.\1.self_attn."),
    (r"^visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision_model.encoder.layers.\1.mlp."),
    (r"^visual_encoder\.norm\.", "vision_model.post_layernorm."),
)


def library_name(name: str) -> str | None:
    """Return the name of an original tensor in transformers; None for one that is not needed."""
    if _LEFT_OUT.search(name):
        return None
    for pattern, replacement in _RENAMED:
        renamed, hits = re.subn(pattern, replacement, name)
        if hits:
            return renamed
    return name


def network_config(state: Mapping[str, Any]) -> Any:
    """Return the BlipConfig of original tensors: sizes from their shapes, 64 wide heads.

    Raises:
        KeyError: a tensor that shows a size is not there.
    """
    from transformers import BlipConfig

    width = state["visual_encoder.cls_token"].shape[-1]
    places = state["visual_encoder.pos_embed"].shape[1] - 1
    vocabulary, text_width = state["text_encoder.embeddings.word_embeddings.weight"].shape
    first = "text_encoder.encoder.layer.0."
    return BlipConfig(
        vision_config={
            "hidden_size": width,
            "intermediate_size": state["visual_encoder.blocks.0.mlp.fc1.weight"].shape[0],
            "num_hidden_layers": _depth(state, r"visual_encoder\.blocks\.(\d+)\."),
            "num_attention_heads": width // HEAD_WIDTH,
            "image_size": math.isqrt(places) * PATCH,
            "patch_size": PATCH,
            "hidden_act": "gelu",
            "layer_norm_eps": VISION_EPSILON,
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": text_width,
            "encoder_hidden_size": state[f"{first}crossattention.self.key.weight"].shape[1],
            "intermediate_size": state[f"{first}intermediate.dense.weight"].shape[0],
            "num_hidden_layers": _depth(state, r"text_encoder\.encoder\.layer\.(\d+)\."),
            "num_attention_heads": text_width // HEAD_WIDTH,
            "max_position_embeddings": state[
                "text_encoder.embeddings.position_embeddings.weight"
            ].shape[0],
            "hidden_act": "gelu",
            "layer_norm_eps": TEXT_EPSILON,
            "bos_token_id": vocabulary - 2,
            "is_decoder": True,
        },
    )


def _depth(state: Mapping[str, Any], pattern: str) -> int:
    return 1 + max(int(match[1]) for name in state if (match := re.match(pattern, name)))


def load_original(path: Path, *, device: str) -> Any:
    """Return BlipForQuestionAnswering, float32, filled from the original file.

    Raises:
        CorruptArtifactError: the file is no such checkpoint, or lacks weights, naming one.
    """
    try:
        state = load_torch(path)["model"]
        config = network_config(state)
    except (KeyError, TypeError, ValueError, RuntimeError, UnpicklingError) as error:
        raise CorruptArtifactError(
            f"{path} is no checkpoint of BLIP-VQA ({type(error).__name__}: {error}); expected "
            "the original file, an object with its tensors under 'model'. Download it again."
        ) from None
    from transformers import BlipForQuestionAnswering

    network = BlipForQuestionAnswering(config)
    renamed = {found: v.float() for name, v in state.items() if (found := library_name(name))}
    try:
        missing, unexpected = network.load_state_dict(renamed, strict=False)
    except RuntimeError as error:
        raise CorruptArtifactError(f"{path}: weights of another shape: {error}") from None
    strange = [*missing, *unexpected]
    if strange:
        raise CorruptArtifactError(
            f"{path}: {len(missing)} weights of BLIP-VQA are missing and {len(unexpected)} are "
            f"unknown, e.g. {strange[0]}. Download the file again."
        )
    return network.to(device).eval().requires_grad_(False)


def set_vision_epsilon(network: Any, epsilon: float = VISION_EPSILON) -> Any:
    """Set the epsilon of the vision model's normalisations, and return the network."""
    from torch import nn

    for module in network.vision_model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon
    return network
