"""Cosine of image and text under a CLIP checkpoint, through transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from bench.api.evaluator import Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.clip_weights import PublishedClip, ShippedClip
from evaluators.models.images import prediction, read_batches
from evaluators.models.text_lengths import counts, longest_text


class ClipCosine(PublishedClip):
    """Plain cosine, neither scaled nor clipped (T2I-CompBench's CLIPScore), in float32.

    The checkpoint is a transformers CLIPModel with its tokenizer and its image processor. The
    PIL image processor is asked for by name: the torchvision one resizes differently in the
    third decimal.
    """

    name: ClassVar[str] = "clip"
    version: ClassVar[int] = 2
    needs: ClassVar[Sequence[hub.Alternatives]] = (
        *hub.NETWORK,
        *hub.TOKENIZER,
        *hub.IMAGE_PROCESSOR,
    )

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        folder = self.folder()
        return longest_text(folder), counts(folder, texts)

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"cosine"`: one value per text of the image's prompt, in query order.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
            CorruptArtifactError: its weights do not fill the network.
            ProtocolError: its configuration names another activation than QuickGELU.
        """
        import torch
        from PIL import Image
        from transformers import CLIPImageProcessorPil, CLIPTokenizer

        folder, device = self.folder(), hub.pick_device(self.device)
        model = self.network(folder, device)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        texts = sorted({t for prompt_id in asked for t in queries[prompt_id]})
        with torch.no_grad():
            rows = []
            for i in range(0, len(texts), batch_size):
                tokens = tokenizer(
                    texts[i : i + batch_size], padding=True, truncation=True, return_tensors="pt"
                )
                rows.append(model.get_text_features(**tokens.to(device)).pooler_output)
            table = torch.nn.functional.normalize(torch.cat(rows), dim=-1) if rows else None
            index = {t: i for i, t in enumerate(texts)}
            for records, pictures in read_batches(images, batch_size, asked):
                pixels = processor(
                    [Image.fromarray(p) for p in pictures], return_tensors="pt"
                ).pixel_values
                seen = model.get_image_features(pixel_values=pixels.to(device)).pooler_output
                seen = torch.nn.functional.normalize(seen, dim=-1)
                assert table is not None
                for row, record in enumerate(records):
                    wanted = [index[t] for t in queries[record.prompt_id]]
                    yield prediction(record, cosine=(table[wanted] @ seen[row]).tolist())


class TinyClip(ShippedClip, ClipCosine):
    """The tiny world's own CLIP, loaded by the same path as a published one."""

    name: ClassVar[str] = "tiny-clip"
