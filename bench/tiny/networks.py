"""The world's own small networks: features for FID and IS, and yes/no questions (VQA).

Both are plain torch modules kept as safetensors beside a `config.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.api.errors import PrerequisiteError
from bench.read.weights import load_tensors
from bench.tiny.grammar import vocabulary
from bench.tiny.world import COLORS, SHAPES

CLASSES = (*(f"{c} {s}" for c in COLORS for s in SHAPES), "sign")
"""What the feature network's classifier tells apart: the largest thing of a picture."""


def to_unit(pixels: np.ndarray) -> Tensor:
    """Return uint8 (N, H, W, 3) as float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU()
    )


class FeatureNet(nn.Module):
    """A classifier of the largest thing; its penultimate layer are the features of FID.

    Attributes:
        feature_size: width d of the features.
    """

    feature_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(3, 32, 2), _conv(32, 64, 2), _conv(64, 96), _conv(96, 128, 2)
        )  # fmt: skip
        self.neck = nn.Linear(128, self.feature_size)
        self.classify = nn.Linear(self.feature_size, len(CLASSES))
        self.describe = nn.Linear(self.feature_size, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (N, 3, 32, 32) to features (N, 64), class logits (N, 25), side logits (N, 12)."""
        pooled = self.trunk(x).mean((2, 3))
        features = self.neck(pooled)
        active = nn.functional.silu(features)
        return features, self.classify(active), self.describe(active)


class WordList:
    """Words of the grammar as ids; order is forgotten, which is right for one noun phrase."""

    def __init__(self) -> None:
        self.ids = {word: i for i, word in enumerate(vocabulary())}

    def encode(self, phrases: list[str]) -> Tensor:
        """Return (N, V) counts of known words; a question mark is ignored.

        Raises:
            ValueError: a phrase holds no known word.
        """
        counts = torch.zeros(len(phrases), len(self.ids))
        for row, phrase in enumerate(phrases):
            known = [self.ids[w] for w in phrase.lower().rstrip("?").split() if w in self.ids]
            if not known:
                raise ValueError(f"{phrase!r} holds no word of the tiny world")
            for i in known:
                counts[row, i] += 1.0
        return counts


class PhraseNet(nn.Module):
    """Answers "is there <noun phrase> in this picture?" with a probability.

    Each of 8x8 places is compared with the phrase; the picture's logit is the soft maximum.
    """

    width = 96

    def __init__(self, words: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(3, 32, 2), _conv(32, 64), _conv(64, 96, 2), _conv(96, 96), _conv(96, self.width)
        )  # fmt: skip
        self.phrase = nn.Sequential(
            nn.Linear(words, 128), nn.SiLU(), nn.Linear(128, 2 * self.width)
        )
        self.place = nn.Sequential(
            nn.SiLU(), nn.Linear(self.width, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def look(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) to places (N, 64, width), rows of 8 by 8."""
        seen: Tensor = self.trunk(x)
        return seen.flatten(2).transpose(1, 2)

    def evidence(self, places: Tensor, counts: Tensor) -> Tensor:
        """Return the logit (N, 64) that the thing at each place fits the phrase (N, V)."""
        scale, shift = self.phrase(counts).chunk(2, dim=-1)
        fits: Tensor = self.place(places * (1 + scale[:, None]) + shift[:, None])
        return fits.squeeze(-1)

    def ask(self, places: Tensor, counts: Tensor) -> Tensor:
        """Return the logit of "yes" (N,): the soft maximum of the evidence over the places."""
        return torch.logsumexp(self.evidence(places, counts), dim=1)


def save_network(module: nn.Module, folder: Path, facts: dict[str, object]) -> None:
    """Write float16 `model.safetensors` and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.to(torch.float16).contiguous() for k, v in module.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def load_network(module: nn.Module, folder: Path) -> nn.Module:
    """Load what `save_network` wrote, as float32 in eval mode.

    Raises:
        PrerequisiteError: the weights are not there.
    """
    file = folder / "model.safetensors"
    if not file.is_file():
        raise PrerequisiteError(f"no weights at {file}", fix="python -m bench assets build")
    module.load_state_dict({k: v.float() for k, v in load_tensors(file).items()})
    return module.eval().requires_grad_(False)
