"""Networks of the tiny scorers that are no CLIP: tiny-imagereward, -hpsv3, -unifiedreward, -deqa.

Kept as float16 safetensors beside a `config.json`; `bench.tiny.build` trains them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.tiny.networks import PhraseNet

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation of pixels, which image processors apply."""
LEVELS = (5.0, 4.0, 3.0, 2.0, 1.0)
"""What DeQA-Score's five words are worth, "excellent" to "bad"."""
MARKS = tuple(1.0 + 0.5 * n for n in range(9))
"""What tiny-unifiedreward can answer: 1 to 5 in halves."""
PICTURE_LAYER, TEXT_LAYER = 2, 1
"""After which of tiny-clip's layers its states are read: those its last layers look at."""


class Places(nn.Module):
    """What tiny-imagereward sees: 8x8 places of a picture, by tiny-vqa's trunk and raw pixels.

    The trunk stays as tiny-vqa has it. Its normalisations forget how strong a picture's colours
    are; the pixels of each place are added so that a washed-out picture can be told.
    """

    width = 96

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=32)
        self.trunk = PhraseNet(1).trunk
        self.pixels = nn.Conv2d(3, self.width, 4, 4)
        self.position = nn.Parameter(torch.zeros(64, self.width))
        nn.init.zeros_(self.pixels.bias)  # type: ignore[arg-type]

    def forward(self, pixel_values: Tensor) -> Any:
        """Map CLIP-normalised (N, 3, 32, 32) to an object with `last_hidden_state` (N, 64, 96)."""
        unit = unit_pixels(pixel_values)
        return SimpleNamespace(last_hidden_state=self.joined(self.trunk(unit), unit))

    def joined(self, seen: Tensor, unit: Tensor) -> Tensor:
        """Return the states (N, 64, 96) of what the trunk saw (N, 96, 8, 8) in pictures `unit`."""
        both: Tensor = seen + self.pixels(unit)
        return both.flatten(2).transpose(1, 2) + self.position


def unit_pixels(pixel_values: Tensor) -> Tensor:
    """Return CLIP-normalised pixels (N, 3, H, W) as -1 to 1."""
    mean, std = (pixel_values.new_tensor(x)[:, None, None] for x in (MEAN, STD))
    unit: Tensor = (pixel_values * std + mean) * 2 - 1
    return unit


def reading_config(vocabulary: int, end: int, longest: int) -> Any:
    """Return the configuration of tiny-imagereward's text encoder, a BlipTextModel."""
    from transformers import BlipTextConfig

    return BlipTextConfig(
        vocab_size=vocabulary, hidden_size=96, encoder_hidden_size=Places.width,
        intermediate_size=192, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=longest, hidden_act="gelu", is_decoder=True,
        bos_token_id=vocabulary - 2, eos_token_id=end, pad_token_id=end, sep_token_id=end,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Pictures as tiny-clip sees them: places (N, 65, 128), the whole (N, 128), normalised."""

    places: Tensor
    whole: Tensor


@dataclass(frozen=True, kw_only=True)
class Read:
    """Texts as tiny-clip reads them: words (N, T, 128), the whole (N, 128), which words count."""

    words: Tensor
    whole: Tensor
    mask: Tensor


def look(clip: Any, pixel_values: Tensor) -> Seen:
    """Return what tiny-clip sees in pictures (N, 3, 32, 32)."""
    out = clip.vision_model(pixel_values=pixel_values, output_hidden_states=True)
    whole = clip.visual_projection(out.pooler_output)
    return Seen(places=out.hidden_states[PICTURE_LAYER], whole=F.normalize(whole, dim=-1))


def read(clip: Any, ids: Tensor) -> Read:
    """Return what tiny-clip reads in texts (N, T); words after the first end do not count."""
    out = clip.text_model(input_ids=ids, output_hidden_states=True)
    whole = clip.text_projection(out.pooler_output)
    ends = (ids == clip.config.text_config.eos_token_id).cumsum(1)
    return Read(
        words=out.hidden_states[TEXT_LAYER],
        whole=F.normalize(whole, dim=-1),
        mask=(ends == 0) | ((ends == 1) & (ids == clip.config.text_config.eos_token_id)),
    )


class _Layer(nn.Module):
    """Self-attention and an MLP, each after a normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.joined, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (N, L, D) to the same; `mask` (N, 1, 1, L): what may be looked at."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.joined(self.before(x)).chunk(3, dim=-1)
        )
        looked = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(looked.transpose(1, 2).flatten(2))
        found: Tensor = x + self.mlp(self.between(x))
        return found


class PairReader(nn.Module):
    """tiny-hpsv3: places, words and a token for the reward in one sequence; mean and sigma of it.

    In HPS v3's form: the last state of a special token goes through an MLP with two outputs, of
    which the second is the logarithm of sigma.
    """

    width, heads, layers = 96, 4, 2
    LEAST, MOST = -3.0, 2.0

    def __init__(self, states: int = 128, places: int = 65, words: int = 24) -> None:
        super().__init__()
        self.of_places, self.of_words = nn.Linear(states, self.width), nn.Linear(states, self.width)
        self.of_whole = nn.Linear(states, self.width)
        self.place = nn.Parameter(0.02 * torch.randn(places, self.width))
        self.word = nn.Parameter(0.02 * torch.randn(words, self.width))
        self.token = nn.Parameter(0.02 * torch.randn(self.width))
        self.norm_places, self.norm_words = nn.LayerNorm(states), nn.LayerNorm(states)
        self.blocks = nn.ModuleList(_Layer(self.width, self.heads) for _ in range(self.layers))
        self.head = nn.Sequential(
            nn.LayerNorm(self.width), nn.Linear(self.width, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def state(self, seen: Seen, said: Read) -> Tensor:
        """Return the token's last state (N, 96) of N pictures under N texts."""
        alike = seen.whole * said.whole * seen.whole.shape[-1] ** 0.5
        sequence = torch.cat(
            [
                (self.token + self.of_whole(alike))[:, None],
                self.of_places(self.norm_places(seen.places)) + self.place,
                self.of_words(self.norm_words(said.words)) + self.word,
            ],
            dim=1,
        )
        free = torch.ones(
            len(sequence), 1 + seen.places.shape[1], dtype=torch.bool, device=sequence.device
        )
        mask = torch.cat([free, said.mask], dim=1)[:, None, None]
        for block in self.blocks:
            sequence = block(sequence, mask)
        return sequence[:, 0]

    def forward(self, seen: Seen, said: Read) -> Any:
        """Return mean (N,) and sigma (N,) of the reward of N pictures under N texts."""
        mean, spread = self.head(self.state(seen, said)).unbind(-1)
        return mean, spread.clamp(self.LEAST, self.MOST).exp()


class AnswerReader(PairReader):
    """tiny-unifiedreward: the same sequence; the token's last state chooses one of nine answers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.LayerNorm(self.width), nn.Linear(self.width, 64), nn.ReLU(),
            nn.Linear(64, len(MARKS)),
        )  # fmt: skip

    def forward(self, seen: Seen, said: Read) -> Tensor:
        """Return the logits (N, 9) of the answers, `MARKS` in order."""
        logits: Tensor = self.head(self.state(seen, said))
        return logits


class QualityNet(nn.Module):
    """tiny-deqa: which of five levels of quality a picture has; no prompt is asked.

    The first layer's own figures go into the head, too: the normalisations after it forget how
    strong colours are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Sequential(nn.Conv2d(3, 24, 3, 1, 1), nn.SiLU())
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((24, 48, 2), (48, 64, 2), (64, 64, 1)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride, 1)
            layers += [convolution, nn.GroupNorm(8, outputs), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(3 * (24 + 64), 64), nn.SiLU(), nn.Linear(64, len(LEVELS))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (N, 3, 32, 32) in [-1, 1] to the levels' logits (N, 5), the best first."""
        edges = self.edges(x)
        flat = [part.flatten(2) for part in (edges, self.trunk(edges))]
        pooled = [f(part) for part in flat for f in (_mean, _most, _spread)]
        logits: Tensor = self.head(torch.cat(pooled, dim=-1))
        return logits


def _mean(x: Tensor) -> Tensor:
    return x.mean(-1)


def _most(x: Tensor) -> Tensor:
    return x.amax(-1)


def _spread(x: Tensor) -> Tensor:
    return x.std(-1)


def expected_level(logits: Tensor) -> Tensor:
    """Return the mean of the levels (N,) under their probabilities, as DeQA-Score does."""
    return logits.softmax(-1) @ torch.tensor(LEVELS, dtype=logits.dtype, device=logits.device)
