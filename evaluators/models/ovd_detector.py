"""T2I-CompBench's objects by an open-vocabulary detector, OWLv2: the variant `compbench-ovd`.

The official detector is UniDet with 722 labels of its own, 100 of the 300 spatial prompts name a
thing that is none of them, and no maintained package runs it. This one is asked for the very nouns
of a prompt, so its confidences and its vocabulary are others: a metric with a name of its own,
never to be compared with published rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt
from evaluators.compbench.numeracy import SYNONYMS
from evaluators.compbench.rules import DETECTOR_THRESHOLD, PERSONS, overlap
from evaluators.models import hub
from evaluators.models.images import prediction, read_batches

REPOSITORY = "google/owlv2-base-patch16-ensemble"
TEMPLATE = "a photo of a {}"
SAME_OBJECT = 0.5
"""Overlap above which the less confident of two boxes of a label is left out, as in UniDet."""
MOST = 300


class OpenVocabularyDetector(Backend):
    """OWLv2 asked for the nouns of each prompt."""

    name: ClassVar[str] = "compbench-ovd"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "random-weights"
    variant: ClassVar[str] = (
        f"compbench-ovd, not the official detector: {REPOSITORY}, asked for the nouns of a prompt, "
        "in place of UniDet; compare only with numbers of compbench-ovd"
    )
    hub_models: ClassVar[tuple[str, ...]] = (REPOSITORY,)

    def identity(self) -> dict[str, Any]:
        """Return name, version, the model's commit and a hash over its files.

        Raises:
            PrerequisiteError: the model is not in the cache.
        """
        folder = _folder()
        return {
            **super().identity(),
            "variant": self.variant,
            "models": {REPOSITORY: folder.name},
            "weights": hub.content_hash(folder),
        }

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the detections of each image by falling score; queries are ignored.

        What is looked for is in the prompts' meta: `objects` and `counts`.

        Raises:
            PrerequisiteError: the model is not in the cache.
            CorruptArtifactError: its weights do not fill the network.
        """
        detector = Detector(hub.pick_device(self.device))
        nouns = {prompt.id: nouns_of(prompt) for prompt in images.suite}
        for records, pictures in read_batches(images, batch_size):
            seen = detector.look(pictures)
            for row, (record, picture) in enumerate(zip(records, pictures, strict=True)):
                height, width = picture.shape[:2]
                found = detector.find(seen, row, nouns[record.prompt_id], width, height)
                yield prediction(record, height=height, width=width, detections=found)


def nouns_of(prompt: Prompt) -> tuple[str, ...]:
    """Return the labels a prompt's rules look for, each once."""
    objects = prompt.meta.get("objects", ())
    named = [entry["class"] if isinstance(entry, Mapping) else entry for entry in objects]
    labels = ["person" if noun in PERSONS else noun for noun in named if noun]
    labels += [SYNONYMS.get(noun, noun) for noun, _ in prompt.meta.get("counts", ())]
    return tuple(dict.fromkeys(labels))


def leave_out_repeats(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return detections by falling score, without those that overlap a better one of the label."""
    kept: list[dict[str, Any]] = []
    for one in sorted(found, key=lambda d: -float(d["score"])):
        same = (k for k in kept if k["class"] == one["class"])
        if all(overlap(one["box"], k["box"]) <= SAME_OBJECT for k in same):
            kept.append(one)
    return kept[:MOST]


def _folder() -> Any:
    return hub.snapshot(REPOSITORY, needs=(*hub.NETWORK, *hub.TOKENIZER, *hub.IMAGE_PROCESSOR))


class Detector:
    """OWLv2 in two steps: a picture is looked at once, then asked for any nouns."""

    def __init__(self, device: str) -> None:
        from transformers import CLIPTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

        folder = _folder()
        self._device = device
        self._network = hub.load_network(Owlv2ForObjectDetection, folder, device=device)
        self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        self._processor = Owlv2ImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self._vectors: dict[str, Any] = {}

    def look(self, pictures: Sequence[np.ndarray]) -> tuple[Any, Any]:
        """Return the features (B, places, width) and boxes (B, places, 4) of pictures."""
        import torch
        from PIL import Image

        with torch.no_grad():
            pixels = self._processor(
                [Image.fromarray(picture) for picture in pictures], return_tensors="pt"
            ).pixel_values.to(self._device)
            grid, _ = self._network.image_embedder(pixel_values=pixels)
            features = grid.flatten(1, 2)
            return features, self._network.box_predictor(features, grid)

    def find(
        self, seen: tuple[Any, Any], row: int, nouns: Sequence[str], width: int, height: int
    ) -> list[dict[str, Any]]:
        """Return the detections of `nouns` in picture `row`, boxes in its pixels."""
        import torch

        if not nouns:
            return []
        with torch.no_grad():
            vectors = torch.stack([self._vector(noun) for noun in nouns])
            logits, _ = self._network.class_predictor(seen[0][row][None], vectors[None])
            best = logits[0].sigmoid().max(dim=-1)
        x, y, wide, high = seen[1][row].unbind(-1)
        corners = torch.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], dim=-1)
        side = max(width, height)  # pictures are made square by padding right and below
        edge = torch.tensor([width, height, width, height], device=corners.device)
        boxes = (corners * side).clamp(min=0).minimum(edge)
        places = (best.values > DETECTOR_THRESHOLD).nonzero().flatten().tolist()
        return leave_out_repeats(
            [
                {
                    "class": nouns[int(best.indices[place])],
                    "score": float(best.values[place]),
                    "box": boxes[place].tolist(),
                }
                for place in places
            ]
        )

    def _vector(self, noun: str) -> Any:
        if noun not in self._vectors:
            tokens = self._tokenizer(
                TEMPLATE.format(noun),
                padding="max_length",
                truncation=True,
                max_length=self._network.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._device)
            owl = self._network.owlv2
            features = owl.text_projection(owl.text_model(**tokens).pooler_output)[0]
            self._vectors[noun] = features / features.norm()
        return self._vectors[noun]
