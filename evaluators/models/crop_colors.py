"""The colour of an object in a picture, read by CLIP from its crop on grey, as GenEval does.

Source: djghosh13/geneval@af4902f, evaluation/evaluate_images.py (`color_classification`,
`ImageCrops`); class vectors and logits as in LAION's clip_benchmark 1.4
(metrics/zeroshot_classification.py); the transform is open_clip's for validation. The original
computes in half precision under autocast; here it is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bench.api.errors import PrerequisiteError, ProtocolError
from evaluators.geneval.rules import COLORS
from evaluators.models.hub import fetch_command, load_network

TEMPLATES = (
    "a photo of a {color} {thing}",
    "a photo of a {color}-colored {thing}",
    "a photo of a {color} object",
)
BACKGROUND = "#999"
ACTIVATION = "quick_gelu"
"""What OpenAI's weights were trained with; with the exact GELU they give other colours."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_CROPS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object whose colour is asked.

    Attributes:
        name: its class, as the prompt calls it.
        picture: (H, W, 3) uint8 RGB, the whole picture.
        mask: (H, W) bool, its pixels.
        box: x0, y0, x1, y1 in pixels.
    """

    name: str
    picture: np.ndarray
    mask: np.ndarray
    box: Sequence[float]


def crop_on_grey(thing: Thing) -> Image.Image:
    """Return the object's pixels on grey, cut out by its box (rounded by Pillow)."""
    picture = Image.fromarray(thing.picture)
    blank = Image.new("RGB", picture.size, color=BACKGROUND)
    mask = Image.fromarray(thing.mask.astype(np.uint8) * 255)
    x0, y0, x1, y1 = thing.box
    return Image.composite(picture, blank, mask).crop((x0, y0, x1, y1))


def clip_input(image: Image.Image, size: int) -> Tensor:
    """Return (3, size, size) float32: shortest side to `size`, bicubic; centre; normalised."""
    width, height = image.size
    if width <= height:
        resized = (size, int(size * height / width))
    else:
        resized = (int(size * width / height), size)
    image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (round((edge - size) / 2.0) for edge in resized)
    image = image.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255.0
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


class ColorReader:
    """OpenAI's CLIP as a classifier of ten colours.

    Args:
        folder: of a transformers CLIPModel and its tokenizer.
        repository: its hub id, for messages.
        device: where it runs.

    Raises:
        ProtocolError: the network computes with another activation than QuickGELU.
        PrerequisiteError: the tokenizer knows no words.
        CorruptArtifactError: weights are missing.
    """

    def __init__(self, folder: Path, *, repository: str, device: str) -> None:
        from transformers import CLIPModel, CLIPTokenizer

        self._model = load_network(CLIPModel, folder, device=device)
        self._device = device
        config = self._model.config
        for part in (config.text_config, config.vision_config):
            if part.hidden_act != ACTIVATION:
                raise ProtocolError(
                    f"{repository} computes with {part.hidden_act!r}; GenEval's colours are read "
                    f"with {ACTIVATION!r}. Take {repository} as OpenAI published it."
                )
        self._size = int(config.vision_config.image_size)
        self._length = int(config.text_config.max_position_embeddings)
        self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        if not set(self._tokenizer.get_vocab()) - set(self._tokenizer.all_special_tokens):
            raise PrerequisiteError(
                f"the tokenizer of {repository} has no words", fix=fetch_command(repository)
            )
        self._classifiers: dict[str, Tensor] = {}

    @torch.no_grad()
    def classifier(self, name: str) -> Tensor:
        """Return (10, D) unit vectors, one per colour, of objects of a class.

        Each is the normalised mean of the three templates' normalised text vectors.
        """
        if name not in self._classifiers:
            texts = [t.format(color=c, thing=name) for c in COLORS for t in TEMPLATES]
            tokens = self._tokenizer(
                texts,
                padding="max_length",
                max_length=self._length,
                truncation=True,
                return_tensors="pt",
            )
            # no attention mask: the encoder is causal, what follows the last word is not seen
            vectors = self._model.get_text_features(tokens.input_ids.to(self._device)).pooler_output
            vectors = functional.normalize(vectors, dim=-1).view(len(COLORS), len(TEMPLATES), -1)
            self._classifiers[name] = functional.normalize(vectors.mean(dim=1), dim=-1)
        return self._classifiers[name]

    @torch.no_grad()
    def read(self, things: Sequence[Thing]) -> list[str]:
        """Return the colour of each object; their crops go through the network together."""
        found: list[str] = []
        for start in range(0, len(things), _CROPS_AT_ONCE):
            some = things[start : start + _CROPS_AT_ONCE]
            pixels = torch.stack([clip_input(crop_on_grey(thing), self._size) for thing in some])
            seen = self._model.get_image_features(pixels.to(self._device)).pooler_output
            seen = functional.normalize(seen, dim=-1)
            for vector, thing in zip(seen, some, strict=True):
                logits = 100.0 * (self.classifier(thing.name) @ vector)
                found.append(COLORS[int(logits.argmax())])
        return found
