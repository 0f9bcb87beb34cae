"""`tiny-imagereward`: a text encoder that looks at the picture, and a head that gives a reward.

In ImageReward's form: picture and prompt are read together by cross attention (transformers'
BlipTextModel), and the first token's state goes through five affine layers. Its eyes are
tiny-vqa's, as ImageReward's are BLIP's, and their trunk stays as it is. It learns from ranked
lists: of all pairs of a prompt's pictures, -log sigmoid of the better one's reward less the
other's. Source of the objective: Xu et al., NeurIPS 2023 (ImageReward), eq. 1. As its reading is
learnt here, too, and not before, the same loss also asks under which of two prompts a picture is
the better one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer
from transformers.models.blip.modeling_blip_text import BlipTextModel

from bench.tiny.build.aesthetic import new_head
from bench.tiny.build.clip import clip_pixels
from bench.tiny.build.contests import Contests, Entry, make_contests
from bench.tiny.build.exam import Exam, Scorer, utility
from bench.tiny.build.loop import LoopConfig, train_network
from bench.tiny.build.tokenizer import MAX_TOKENS
from bench.tiny.networks import PhraseNet, to_unit
from bench.tiny.reward_networks import Places, reading_config

STREAM = 64
PROMPTS, THROUGH_VAE = 4000, 0.15
STEPS, BATCH = 1000, 16
CLEAR = 0.25
"""Utilities this far apart are ranked."""
SCALED = 500
"""Training prompts whose pictures' rewards are to have mean 0 and deviation 1."""
LISTED = (
    Entry(),
    Entry(degraded=1.0, like=0),
    Entry(errors=(0.0, 1.0)),
    Entry(errors=(0.2, 0.4, 0.4), degraded=0.5),
)
"""A prompt's pictures: right and clean, the same degraded, one word wrong, and anything."""


class RewardNet(nn.Module):
    """Eyes, text encoder and head; `rewards` are raw, before they are standardised."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        end = int(tokenizer.eos_token_id)
        self.vision = Places()
        self.text = BlipTextModel(
            reading_config(len(tokenizer), end, MAX_TOKENS), add_pooling_layer=False
        )
        self.mlp = new_head(self.text.config.hidden_size)

    def rewards(self, seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Return rewards (M,) of pictures, whose places are `seen` (M, 64, 96), under M texts."""
        states = self.text(
            input_ids=ids, attention_mask=mask, encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long), is_decoder=False,
        ).last_hidden_state  # fmt: skip
        found: Tensor = self.mlp(states[:, 0]).squeeze(-1)
        return found


def list_loss(rewards: Tensor, worth: Tensor) -> Tensor:
    """Return the mean over ranked pairs of -log sigmoid of the better reward less the other.

    Args:
        rewards: (B, T, K) of K pictures under T prompts.
        worth: (B, T, K) utilities; pairs as near as `CLEAR` are not ranked.
    """

    def pairs(axis: int) -> Tensor:
        gap = rewards.unsqueeze(axis) - rewards.unsqueeze(axis + 1)
        better = worth.unsqueeze(axis) - worth.unsqueeze(axis + 1) > CLEAR
        return F.softplus(-gap)[better].mean()

    return pairs(2) + pairs(1)


@torch.no_grad()
def _seen(eyes: Places, pixels: np.ndarray) -> Tensor:
    """Return what the trunk sees (N, K, 96, 8, 8) of pictures (N, K, 32, 32, 3), half precision."""
    flat = to_unit(pixels.reshape(-1, *pixels.shape[2:]))
    parts = [eyes.trunk(flat[i : i + 200]).half() for i in range(0, len(flat), 200)]
    seen: Tensor = torch.cat(parts).unflatten(0, pixels.shape[:2])
    return seen


def _tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> tuple[Tensor, Tensor]:
    found = tokenizer(
        texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    )
    return found.input_ids, found.attention_mask


def train_imagereward(
    eyes: PhraseNet,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    exam: Exam,
    work: Path,
) -> tuple[RewardNet, dict[str, Any]]:
    """Train on ranked lists; the facts hold the exam, and mean and deviation of its rewards.

    Args:
        eyes: tiny-vqa.
        tokenizer: the world's.
        vae: see `make_contests`.
        exam: what is asked in the end.
        work: where pictures and state are kept.
    """
    torch.manual_seed(STREAM)
    net = RewardNet(tokenizer)
    net.vision.trunk.load_state_dict(eyes.trunk.state_dict())
    contests = make_contests(LISTED, PROMPTS, STREAM, work / "contests.npy", vae, THROUGH_VAE)
    net.vision.trunk.requires_grad_(False)
    seen = _seen(net.vision, contests.pixels)
    ids, mask = _tokens(tokenizer, [text for both in contests.texts for text in both])
    ids, mask = ids.unflatten(0, (-1, 2)), mask.unflatten(0, (-1, 2))
    each = len(LISTED)
    place = torch.arange(BATCH * each).reshape(BATCH, 1, each).expand(BATCH, 2, each)

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([STREAM, step])
        picked = rng.choice(len(contests.texts), size=BATCH, replace=False)
        unit = to_unit(contests.pixels[picked].reshape(-1, 32, 32, 3))
        places = net.vision.joined(seen[picked].flatten(0, 1).float(), unit)
        said = [t[picked][:, :, None].expand(-1, -1, each, -1).flatten(0, 2) for t in (ids, mask)]
        rewards = net.rewards(places[place.flatten()], *said).reshape(BATCH, 2, each)
        errors = torch.from_numpy(contests.errors[picked]).float()
        severity = torch.from_numpy(contests.severity[picked]).float()
        return list_loss(rewards, utility(errors, severity[:, None]))

    config = LoopConfig(steps=STEPS, lr=1e-3, ema=0.99)
    facts = train_network("tiny-imagereward", net, loss_of_step, config, work)
    raw = _raw_rewards(reward_scorer(net, tokenizer), contests)
    scale = {"reward_mean": float(np.mean(raw)), "reward_std": float(np.std(raw))}
    return net, {**facts, **scale, **exam.take("tiny-imagereward", reward_scorer(net, tokenizer))}


def _raw_rewards(scorer: Scorer, contests: Contests) -> np.ndarray:
    """Return raw rewards (M, K) of training pictures under their prompts."""
    first = [texts[0] for texts in contests.texts[:SCALED]]
    each = contests.pixels.shape[1]
    columns = [
        np.concatenate([
            scorer(contests.pixels[i : i + 100, k][: len(first) - i], first[i : i + 100])
            for i in range(0, len(first), 100)
        ])
        for k in range(each)
    ]  # fmt: skip
    return np.stack(columns, axis=1)


def reward_scorer(net: RewardNet, tokenizer: CLIPTokenizer) -> Scorer:
    """Return what gives raw rewards."""

    @torch.no_grad()
    def score(pixels: np.ndarray, texts: list[str]) -> np.ndarray:
        seen = net.vision(pixel_values=clip_pixels(pixels)).last_hidden_state
        found: np.ndarray = net.rewards(seen, *_tokens(tokenizer, texts)).numpy()
        return found

    return score


def save_imagereward(net: RewardNet, facts: dict[str, Any], folder: Path) -> None:
    """Write the network in float16, and what standardises its rewards."""
    tensors = {k: v.to(torch.float16).contiguous() for k, v in net.state_dict().items()}
    save_file(
        {k.replace("mlp.", "mlp.layers.", 1): v for k, v in tensors.items()},
        folder / "model.safetensors",
    )
    text = net.text.config
    config = {
        "vocab_size": text.vocab_size, "eos_token_id": text.eos_token_id,
        "max_position_embeddings": text.max_position_embeddings,
        "reward_mean": facts["reward_mean"], "reward_std": facts["reward_std"],
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
