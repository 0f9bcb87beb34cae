"""A tiny CLIP (transformers' CLIPModel), trained by contrast on true texts.

Its text tower is where the base model's text encoder starts; the whole is the CLIP scorer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.scenes_cache import SceneSet
from bench.tiny.build.tokenizer import END, MAX_TOKENS, START
from bench.tiny.grammar import with_wrong_word

BATCH = 96
WIDTH = 128
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return an untrained tiny CLIP: 32x32 pixels in patches of 4, two text layers of width 128."""
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in (START, END)}
    shared = {"hidden_act": "quick_gelu", "projection_dim": WIDTH}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": ids[START], "eos_token_id": ids[END], "pad_token_id": ids[END], **shared,
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 3 * WIDTH, "num_hidden_layers": 3,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 4, **shared,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH))


def clip_pixels(pixels: np.ndarray) -> Tensor:
    """Return uint8 (N, H, W, 3) as CLIP-normalised float (N, 3, H, W)."""
    x = torch.from_numpy(pixels).float().div(255.0)
    return ((x - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2).contiguous()


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Return padded token ids (N, MAX_TOKENS)."""
    encoded = tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    ids: Tensor = encoded.input_ids
    return ids


def train_clip(
    scenes: SceneSet,
    tokenizer: CLIPTokenizer,
    work: Path,
    *,
    steps: int = 800,
    lr: float = 1e-3,
    start: CLIPModel | None = None,
    stream: int = 2,
) -> tuple[CLIPModel, dict[str, Any]]:
    """Train on (image, true text), each image also against its text with one wrong word.

    A short run gives the start of the base model's text encoder; a second run from there
    (`start`) gives the scorer. Texts that are equal are not negatives of each other. The last
    1000 scenes are held out and give the card's figure: how often the true text beats its
    wrong-worded version.
    """
    torch.manual_seed(0)
    model = new_clip(tokenizer)
    if start is not None:
        model.load_state_dict(start.state_dict())
    train_size = len(scenes) - 1000

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([stream, step])
        picked = rng.integers(train_size, size=BATCH)
        texts = [scenes.texts[i] for i in picked]
        wrong = [with_wrong_word(t, rng) for t in texts]
        image, text = _features(
            model, clip_pixels(scenes.pixels[picked]), tokenise(tokenizer, texts + wrong)
        )
        scale = model.logit_scale.exp().clamp(max=100.0)
        logits = scale * image @ text.T
        everything = np.array(texts + wrong)
        same = torch.from_numpy(everything[None, :] == np.array(texts)[:, None])
        own = torch.cat([torch.eye(BATCH), torch.zeros(BATCH, BATCH)], 1).bool()
        logits = logits.masked_fill(same & ~own, float("-inf"))
        target = torch.arange(BATCH)
        by_text = logits[:, :BATCH].T
        return (F.cross_entropy(logits, target) + F.cross_entropy(by_text, target)) / 2

    facts = train_network(
        work.name, model, loss_of_step, LoopConfig(steps=steps, lr=lr, ema=0.998), work
    )
    return model, {**facts, "held_out_accuracy": _accuracy(model, scenes, tokenizer, train_size)}


def _features(model: CLIPModel, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    image = model.get_image_features(pixel_values=pixels).pooler_output
    text = model.get_text_features(input_ids=ids).pooler_output
    return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


@torch.no_grad()
def _accuracy(model: CLIPModel, scenes: SceneSet, tokenizer: CLIPTokenizer, start: int) -> float:
    rng = np.random.default_rng(5)
    indices = range(start, len(scenes))
    texts = [scenes.texts[i] for i in indices]
    wrong = [with_wrong_word(t, rng) for t in texts]
    pixels = clip_pixels(scenes.pixels[start:])
    image, right = _features(model, pixels, tokenise(tokenizer, texts))
    _, other = _features(model, pixels[:1], tokenise(tokenizer, wrong))
    differs = torch.tensor([a != b for a, b in zip(texts, wrong, strict=True)])
    better = ((image * right).sum(-1) > (image * other).sum(-1))[differs]
    return round(float(better.float().mean()), 4)
