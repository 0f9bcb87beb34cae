"""`tiny-aesthetic`: an affine head on tiny-clip's image embedding that rates a picture's quality.

In the form of LAION's predictor: five affine layers with dropout between them. Its ratings are the
world's quality axis, 8 for a flawless picture down to 2 for the worst; what the picture shows does
not count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from bench.tiny.build.choices import Choices
from bench.tiny.build.clip import clip_pixels
from bench.tiny.build.loop import LoopConfig, train_network

FILE = "aesthetic-model.safetensors"
BEST, WORST = 8.0, 2.0
STREAM = 63
_LAYERS = ((1024, 0.2), (128, 0.2), (64, 0.1), (16, 0.0), (1, 0.0))


def new_head(width: int) -> nn.Module:
    """Return the head; its layers stand at the places 0, 2, 4, 6 and 7, as in LAION's file."""
    layers: list[nn.Module] = []
    for outputs, dropout in _LAYERS:
        layers.append(nn.Linear(width, outputs))
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = outputs
    return nn.Sequential(*layers)


@torch.no_grad()
def _embeddings(clip: CLIPModel, pixels: np.ndarray) -> Tensor:
    parts = [
        clip.get_image_features(pixel_values=clip_pixels(pixels[i : i + 200])).pooler_output
        for i in range(0, len(pixels), 200)
    ]
    return F.normalize(torch.cat(parts), dim=-1)


def train_aesthetic(
    clip: CLIPModel, choices: Choices, work: Path
) -> tuple[nn.Module, dict[str, Any]]:
    """Train the head on the first picture of each prompt; the facts are of held-out ones."""
    torch.manual_seed(STREAM)
    seen = _embeddings(clip.eval(), choices.pixels[:, 0])
    ratings = BEST - (BEST - WORST) * torch.from_numpy(choices.severity[:, 0]).float()
    head = new_head(seen.shape[1])
    train = choices.train_size

    def loss_of_step(step: int) -> Tensor:
        rng = np.random.default_rng([STREAM, step])
        picked = torch.from_numpy(rng.integers(train, size=256))
        return F.mse_loss(head(seen[picked]).squeeze(-1), ratings[picked])

    config = LoopConfig(steps=1500, lr=1e-3, ema=0.99)
    facts = train_network("tiny-aesthetic", head, loss_of_step, config, work)
    with torch.no_grad():
        rated = head(seen[train:]).squeeze(-1).numpy()
    truth = ratings[train:].numpy()
    flawless, poor = rated[truth == BEST], rated[truth < BEST]
    return head, {
        **facts,
        "held_out_correlation": round(float(np.corrcoef(rated, truth)[0, 1]), 4),
        "held_out_flawless_above_poor": round(float((flawless[:, None] > poor[None, :]).mean()), 4),
    }


def save_head(head: nn.Module, folder: Path) -> None:
    """Write the head in float16, its tensors named as in LAION's file."""
    tensors = {f"layers.{k}": v.to(torch.float16) for k, v in head.state_dict().items()}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / FILE)
