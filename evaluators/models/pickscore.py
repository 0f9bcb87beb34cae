"""PickScore through transformers: exp(logit_scale) x cosine of a CLIP ViT-H/14.

Source: yuvalkirstain/PickScore@f79607f:trainer/scripts/eval_preference_predictor.py. The network is
yuvalkirstain/PickScore_v1, tokenizer and image processor are laion's, as upstream takes them. The
PIL image processor is asked for by name: transformers' default resizes otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from evaluators.models import hub
from evaluators.models.images import prediction, read_batches
from evaluators.models.text_lengths import counts, longest_text

NETWORK = "yuvalkirstain/PickScore_v1"
PROCESSOR = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


class PickScorer(Backend):
    """The raw score, in float32; values lie about 20 to 23 with the published weights."""

    name: ClassVar[str] = "pickscore"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    hub_models: ClassVar[tuple[str, ...]] = (NETWORK, PROCESSOR)

    def folders(self) -> tuple[Path, Path]:
        """Return where the network, and where tokenizer and image processor are.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        needs = (*hub.IMAGE_PROCESSOR, *hub.TOKENIZER)
        return hub.snapshot(NETWORK), hub.snapshot(PROCESSOR, needs=needs)

    def identity(self) -> dict[str, Any]:
        """Return name, version, and commit and content hash of network and processor.

        Raises:
            PrerequisiteError: one is not on this machine.
        """
        network, processor = self.folders()
        names = ("tokenizer.json", "vocab.json", "merges.txt", "preprocessor_config.json")
        return {
            **super().identity(),
            "models": {NETWORK: network.name, PROCESSOR: processor.name},
            "weights": hub.content_hash(network),
            "processor": {name: _digest(processor / name) for name in names},
        }

    def token_counts(self, texts: Sequence[str]) -> tuple[int, list[int]]:
        """Return how many tokens are read of a text, and how many each has."""
        network, processing = self.folders()
        return longest_text(network), counts(processing, [self.said(text) for text in texts])

    def said(self, text: str) -> str:
        """Return what the text encoder is given for a text."""
        return text

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield `"score"`: one value per text of the image's prompt, in query order.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
            CorruptArtifactError: its weights do not fill the network.
        """
        import torch
        from PIL import Image
        from torch.nn.functional import normalize
        from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

        network, processing = self.folders()
        device = hub.pick_device(self.device)
        model = hub.load_network(CLIPModel, network, device=device)
        longest = model.config.text_config.max_position_embeddings
        tokenizer = CLIPTokenizer.from_pretrained(processing, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(processing, local_files_only=True)
        asked = {prompt_id for prompt_id, texts in queries.items() if texts}
        texts = sorted({text for prompt_id in asked for text in queries[prompt_id]})
        index = {text: row for row, text in enumerate(texts)}
        with torch.no_grad():
            table = []
            for i in range(0, len(texts), batch_size):
                tokens = tokenizer(
                    [self.said(text) for text in texts[i : i + batch_size]],
                    padding="max_length",
                    truncation=True,
                    max_length=longest,
                    return_tensors="pt",
                ).to(device)
                table.append(normalize(model.get_text_features(**tokens).pooler_output, dim=-1))
            known = torch.cat(table) * model.logit_scale.exp() if table else None
            for records, pictures in read_batches(images, batch_size, asked):
                pixels = processor(
                    [Image.fromarray(p) for p in pictures], return_tensors="pt"
                ).pixel_values
                seen = model.get_image_features(pixel_values=pixels.to(device)).pooler_output
                seen = normalize(seen, dim=-1)
                assert known is not None
                for row, record in enumerate(records):
                    wanted = [index[text] for text in queries[record.prompt_id]]
                    yield prediction(record, score=(known[wanted] @ seen[row]).tolist())


class RealismScorer(PickScorer):
    """The same, in the role that judges realism; it is asked with two prefixes."""

    name: ClassVar[str] = "pickscore-realism"


def _digest(path: Path) -> str | None:
    return hub.digest(path) if path.is_file() else None
