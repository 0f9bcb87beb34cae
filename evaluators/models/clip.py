"""Cosine of image and text under a CLIP checkpoint, through transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import PrerequisiteError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models.images import read_batches


class ClipCosine(Backend):
    """Plain cosine, neither scaled nor clipped (T2I-CompBench's CLIPScore).

    Args:
        checkpoint: a folder or hub id with a transformers CLIPModel, its tokenizer and its image
            processor. The PIL image processor is asked for by name: the torchvision one resizes
            differently in the third decimal.
    """

    name: ClassVar[str] = "clip"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    checkpoint: str = "openai/clip-vit-base-patch32"

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint or type(self).checkpoint

    def location(self) -> str:
        """Return what `from_pretrained` is given."""
        return self.checkpoint

    def identity(self) -> dict[str, Any]:
        """Return name, version and checkpoint."""
        return {**super().identity(), "checkpoint": self.checkpoint}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"cosine"`: one value per text of the image's prompt, in query order.

        Raises:
            PrerequisiteError: the checkpoint is not in the cache.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        where = self.location()
        try:
            model = CLIPModel.from_pretrained(where).eval()
            tokenizer = CLIPTokenizer.from_pretrained(where)
            processor = CLIPImageProcessorPil.from_pretrained(where)
        except OSError as error:
            raise PrerequisiteError(
                f"no CLIP checkpoint at {where!r}: {str(error).splitlines()[0]}",
                fix=f"huggingface-cli download {where}",
            ) from error
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        texts = sorted({t for prompt_id in asked for t in queries[prompt_id]})
        with torch.no_grad():
            rows = []
            for i in range(0, len(texts), batch_size):
                tokens = tokenizer(
                    texts[i : i + batch_size], padding=True, truncation=True, return_tensors="pt"
                )
                rows.append(model.get_text_features(**tokens).pooler_output)
            table = torch.nn.functional.normalize(torch.cat(rows), dim=-1) if rows else None
            index = {t: i for i, t in enumerate(texts)}
            for records, pictures in read_batches(images, batch_size, asked):
                pixels = processor(
                    [Image.fromarray(p) for p in pictures], return_tensors="pt"
                ).pixel_values
                seen = model.get_image_features(pixel_values=pixels).pooler_output
                seen = torch.nn.functional.normalize(seen, dim=-1)
                assert table is not None
                for row, record in enumerate(records):
                    wanted = [index[t] for t in queries[record.prompt_id]]
                    yield (
                        {
                            "prompt_id": record.prompt_id,
                            "ordinal": record.ordinal,
                            "cosine": (table[wanted] @ seen[row]).tolist(),
                        },
                        {},
                    )


class TinyClip(ClipCosine):
    """The tiny world's own CLIP, loaded by the same path as a published one."""

    name: ClassVar[str] = "tiny-clip"
    verified: ClassVar[str] = "real-weights"
    checkpoint = "tiny-clip"

    def location(self) -> str:
        """Return the folder of the shipped weights."""
        from bench.tiny.assets import path_of

        return str(path_of("tiny-clip"))

    def identity(self) -> dict[str, Any]:
        """Return name, version and the hash of the weights."""
        from bench.tiny.assets import weights_sha256

        return {**super().identity(), "weights": weights_sha256("tiny-clip")}
