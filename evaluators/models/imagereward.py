"""ImageReward from its authors' file, in transformers' BLIP modules.

The picture goes through BLIP's ViT-L at 224 pixels, the text encoder reads the prompt (35 tokens,
padded) with cross-attention to it, and the first token's state through five affine layers without
activations gives the reward, less its mean over its standard deviation.
Source: THUDM/ImageReward@c1392c6: ImageReward/ImageReward.py. The published package does not
import beside transformers >= 4.56; nothing of it is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import CorruptArtifactError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.affine_head import affine_head
from evaluators.models.hub import digest
from evaluators.models.images import prediction, read_batches
from evaluators.models.reward_weights import fill, read_tensors
from evaluators.models.text_lengths import counts_of

REPOSITORY = "THUDM/ImageReward"
FILE = "ImageReward.pt"
TOKENIZER = "google-bert/bert-base-uncased"
_TOKENIZER_FILES: tuple[hub.Alternatives, ...] = (("vocab.txt", "tokenizer.json"),)
LONGEST = 35
"""Tokens of a prompt, [CLS] and [SEP] included; the rest is cut off."""
REWARD_MEAN, REWARD_STD = 0.16717362830052426, 1.0333394966054072
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
_UNUSED = ("blip.vision_proj.", "blip.text_proj.")


def load_original(file: Path, *, device: str) -> tuple[Any, Any, Any]:
    """Return BLIP's vision model, its text encoder and the head, filled from the original file.

    Raises:
        CorruptArtifactError: the file is no ImageReward checkpoint, or lacks weights.
    """
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    from evaluators.models.blip_weights import library_name, network_config

    tensors = read_tensors(file)
    blip = {
        name.removeprefix("blip."): tensor
        for name, tensor in tensors.items()
        if name.startswith("blip.") and not name.startswith(_UNUSED)
    }
    try:
        config = network_config(blip)
    except KeyError as error:
        raise CorruptArtifactError(
            f"{file} is no checkpoint of ImageReward: it lacks blip.{error.args[0]}."
        ) from None
    renamed = {found: v for name, v in blip.items() if (found := library_name(name))}
    vision, text, head = (
        {
            name.removeprefix(prefix): tensor
            for name, tensor in source.items()
            if name.startswith(prefix)
        }
        for source, prefix in (
            (renamed, "vision_model."),
            (renamed, "text_encoder."),
            (tensors, "mlp."),
        )
    )
    width = config.text_config.hidden_size
    networks = (
        BlipVisionModel(config.vision_config),
        BlipTextModel(config.text_config, add_pooling_layer=False),
        affine_head(width),
    )
    filled = [
        fill(network, weights, file, device=device)
        for network, weights in zip(networks, (vision, text, head), strict=True)
    ]
    return filled[0], filled[1], filled[2]


class ImageRewardScorer(Backend):
    """See the module's docstring; computed in float32.

    Attributes:
        longest: tokens of a prompt; the rest is cut off.
    """

    name: ClassVar[str] = "imagereward"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (REPOSITORY, TOKENIZER)
    longest: ClassVar[int] = LONGEST

    def checkpoint(self) -> Path:
        """Return the checkpoint's file (PrerequisiteError where it is not on this machine)."""
        return hub.snapshot(REPOSITORY, needs=((FILE,),)) / FILE

    def tokenizer_folder(self) -> Path:
        """Return the folder of the word pieces (PrerequisiteError where it is not there)."""
        return hub.snapshot(TOKENIZER, needs=_TOKENIZER_FILES)

    def networks(self, device: str) -> tuple[Any, Any, Any]:
        """Return vision model, text encoder and head (errors as `predict`)."""
        return load_original(self.checkpoint(), device=device)

    def tokenizer(self) -> Any:
        """Return the text encoder's tokenizer (PrerequisiteError where it is not there)."""
        from transformers import BertTokenizer

        return BertTokenizer.from_pretrained(self.tokenizer_folder(), local_files_only=True)

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        return self.longest, counts_of(self.tokenizer(), texts)

    def scale(self) -> tuple[float, float]:
        """Return mean and deviation of raw rewards, by which they are standardised."""
        return REWARD_MEAN, REWARD_STD

    def identity(self) -> dict[str, Any]:
        """Return name, version, and hashes of the weights and of the tokenizer.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        folder = self.tokenizer_folder()
        vocabulary = next(
            folder / n for n in ("vocab.txt", "tokenizer.json") if (folder / n).is_file()
        )
        return {
            **super().identity(),
            "weights": digest(self.checkpoint()),
            "tokenizer": digest(vocabulary),
        }

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`: one reward per text of the image's prompt, in query order.

        Raises:
            PrerequisiteError: weights or tokenizer are not on this machine.
            CorruptArtifactError: the weights do not fill the networks.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil

        device = hub.pick_device(self.device)
        vision, text, head = self.networks(device)
        tokenizer, (center, spread) = self.tokenizer(), self.scale()
        size = vision.config.image_size
        processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size},
            image_mean=MEAN, image_std=STD,
        )  # fmt: skip
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        for records, pictures in read_batches(images, batch_size, asked):
            rows = [i for i, r in enumerate(records) for _ in queries[r.prompt_id]]
            texts = [said for r in records for said in queries[r.prompt_id]]
            with torch.no_grad():
                pixels = processor(
                    [Image.fromarray(p) for p in pictures], return_tensors="pt"
                ).pixel_values
                seen = vision(pixel_values=pixels.to(device)).last_hidden_state
                tokens = tokenizer(
                    texts, padding="max_length", truncation=True, max_length=self.longest,
                    return_tensors="pt",
                ).to(device)  # fmt: skip
                states = text(
                    input_ids=tokens.input_ids,
                    attention_mask=tokens.attention_mask,
                    encoder_hidden_states=seen[rows],
                    encoder_attention_mask=torch.ones(
                        len(rows), seen.shape[1], dtype=torch.long, device=device
                    ),
                    is_decoder=False,
                ).last_hidden_state
                rewards = ((head(states[:, 0]).squeeze(-1) - center) / spread).tolist()
            position = 0
            for record in records:
                count = len(queries[record.prompt_id])
                yield prediction(record, score=rewards[position : position + count])
                position += count
