"""The tiny world's scorers that are no CLIP: they play ImageReward, HPS v3 and DeQA-Score.

Their cards say what they were trained on; they learnt nothing from those they stand for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageRecord, ImageSet
from bench.read.text import read_text
from bench.tiny.assets import path_of, weights_sha256
from evaluators.models import hub
from evaluators.models.affine_head import affine_head
from evaluators.models.imagereward import ImageRewardScorer
from evaluators.models.images import prediction, read_batches
from evaluators.models.reward_weights import fill, read_tensors
from evaluators.models.text_lengths import counts, longest_text

FILE = "model.safetensors"


class TinyImageReward(ImageRewardScorer):
    """`tiny-imagereward` in ImageReward's own computation: eyes, BLIP's text encoder, affine head.

    Its eyes are convolutions in place of a ViT.
    """

    name: ClassVar[str] = "tiny-imagereward"
    verified: ClassVar[str] = "real-weights"
    hub_models: ClassVar[tuple[str, ...]] = ()
    longest: ClassVar[int] = 24

    def checkpoint(self) -> Path:
        """Return the file of the shipped weights."""
        return path_of(self.name) / FILE

    def tokenizer_folder(self) -> Path:
        """Return the folder of the world's tokenizer."""
        return path_of(self.name)

    def settings(self) -> dict[str, Any]:
        """Return the shipped settings: sizes, and what standardises rewards."""
        found: dict[str, Any] = json.loads(read_text(path_of(self.name) / "config.json"))
        return found

    def networks(self, device: str) -> tuple[Any, Any, Any]:
        """Return eyes, text encoder and head (CorruptArtifactError where weights lack)."""
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        from bench.tiny.reward_networks import Places, reading_config

        file, settings = self.checkpoint(), self.settings()
        config = reading_config(
            settings["vocab_size"], settings["eos_token_id"], settings["max_position_embeddings"]
        )
        tensors = read_tensors(file)
        parts = {
            "vision.": Places(),
            "text.": BlipTextModel(config, add_pooling_layer=False),
            "mlp.": affine_head(config.hidden_size),
        }
        vision, text, head = (
            fill(
                network,
                {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)},
                file,
                device=device,
            )
            for start, network in parts.items()
        )
        return vision, text, head

    def tokenizer(self) -> Any:
        """Return the world's tokenizer."""
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(self.tokenizer_folder(), local_files_only=True)

    def scale(self) -> tuple[float, float]:
        """Return mean and deviation of its raw rewards."""
        settings = self.settings()
        return float(settings["reward_mean"]), float(settings["reward_std"])

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {
            "backend": self.name,
            "version": self.version,
            "weights": weights_sha256(self.name),
        }


class ClipReader(Backend):
    """A network that reads tiny-clip's states of pictures and texts."""

    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hashes of both weights."""
        return {
            **super().identity(),
            "weights": weights_sha256(self.name),
            "clip": weights_sha256("tiny-clip"),
        }

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        folder = path_of("tiny-clip")
        return longest_text(folder), counts(folder, texts)

    def outputs(
        self,
        net: Any,
        images: ImageSet,
        queries: Mapping[str, Sequence[str]],
        batch_size: int,
    ) -> Iterator[tuple[ImageRecord, Any]]:
        """Yield each asked image with the outputs of `net`, one row for each of its texts.

        Raises:
            PrerequisiteError: the weights are not there.
            CorruptArtifactError: they do not fill the network.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        from bench.tiny.reward_networks import Read, Seen, look, read

        folder, file = path_of("tiny-clip"), path_of(self.name) / FILE
        device = hub.pick_device(self.device)
        clip = hub.load_network(CLIPModel, folder, device=device)
        net = fill(net, read_tensors(file), file, device=device)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        longest = clip.config.text_config.max_position_embeddings
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        for records, pictures in read_batches(images, batch_size, asked):
            rows = [i for i, r in enumerate(records) for _ in queries[r.prompt_id]]
            texts = [said for r in records for said in queries[r.prompt_id]]
            with torch.no_grad():
                pixels = processor([Image.fromarray(p) for p in pictures], return_tensors="pt")
                ids = tokenizer(
                    texts, padding="max_length", truncation=True, max_length=longest,
                    return_tensors="pt",
                ).input_ids  # fmt: skip
                seen = look(clip, pixels.pixel_values.to(device))
                words: Read = read(clip, ids.to(device))
                found = net(Seen(places=seen.places[rows], whole=seen.whole[rows]), words)
            found = torch.stack(found, -1) if isinstance(found, tuple) else found
            counts = [len(queries[record.prompt_id]) for record in records]
            yield from zip(records, found.split(counts), strict=True)


class TinyHPSv3(ClipReader):
    """Mean and sigma of `tiny-hpsv3`'s reward, read off tiny-clip's states."""

    name: ClassVar[str] = "tiny-hpsv3"
    version: ClassVar[int] = 1

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`: the mean by text; and `"uncertainty"`: sigma under the first text.

        Raises:
            PrerequisiteError, CorruptArtifactError: as `outputs`.
        """
        from bench.tiny.reward_networks import PairReader

        for record, found in self.outputs(PairReader(), images, queries, batch_size):
            yield prediction(record, score=found[:, 0].tolist(), uncertainty=float(found[0, 1]))


class TinyUnifiedReward(ClipReader):
    """The line that `tiny-unifiedreward` answers with, the likeliest of nine."""

    name: ClassVar[str] = "tiny-unifiedreward"
    version: ClassVar[int] = 1

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"answer"`: a text that ends with a score; and `"chances"` of the nine scores.

        Raises:
            PrerequisiteError, CorruptArtifactError: as `outputs`.
        """
        from bench.tiny.reward_networks import MARKS, AnswerReader

        for record, found in self.outputs(AnswerReader(), images, queries, batch_size):
            yield prediction(
                record,
                answer=f"Final Score: {MARKS[int(found[0].argmax())]:g}",
                chances=found[0].softmax(-1).tolist(),
            )


class TinyDeQA(Backend):
    """The mean of `tiny-deqa`'s five levels; no prompt is asked."""

    name: ClassVar[str] = "tiny-deqa"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        return {**super().identity(), "weights": weights_sha256(self.name)}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`: a list of one value from 1 to 5; and `"levels"`: best to worst.

        Raises:
            PrerequisiteError: the weights are not there.
            CorruptArtifactError: they do not fill the network.
        """
        import torch

        from bench.tiny.reward_networks import QualityNet, expected_level

        file, device = path_of(self.name) / FILE, hub.pick_device(self.device)
        net = fill(QualityNet(), read_tensors(file), file, device=device)
        for records, pictures in read_batches(images, batch_size):
            with torch.no_grad():
                logits = net(torch.cat([_square(p) for p in pictures]).to(device))
                scores = expected_level(logits).tolist()
                levels = logits.softmax(-1).tolist()
            for record, score, chances in zip(records, scores, levels, strict=True):
                yield prediction(record, score=[score], levels=chances)


def _square(picture: np.ndarray) -> Any:
    """Return (1, 3, 32, 32) in [-1, 1]: a picture of another size is resized, its middle taken."""
    from PIL import Image, ImageOps

    from bench.tiny.networks import to_unit

    if picture.shape[:2] != (32, 32):
        fitted = ImageOps.fit(Image.fromarray(picture), (32, 32), Image.Resampling.BICUBIC)
        picture = np.asarray(fitted)
    return to_unit(np.array(picture)[None])
