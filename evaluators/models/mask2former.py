"""GenEval's detector with Meta's weights of Mask2Former, through transformers: `geneval-hf`.

The official detector is MMDetection's mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco. The
architecture is the same, input and post-processing follow it (`instance_masks`), but these
weights are others (mask AP 46.3 against 46.1), and with them the confidences that 0.3 and 0.9 are
compared with. Nobody published how far that moves a score: it is a variant with a name of its
own, never to be called GenEval without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import ProtocolError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite
from evaluators.geneval.clauses import unofficial_words
from evaluators.geneval.prompts import OBJECT_NAMES
from evaluators.geneval.rules import MAX_OBJECTS
from evaluators.models import hub
from evaluators.models.images import read_batches
from evaluators.sentinel import require_sentinel

DETECTOR = "facebook/mask2former-swin-small-coco-instance"
COLORS = "openai/clip-vit-large-patch14"

FLOOR = 0.05
"""Detections above this score are stored: enough to score again with other thresholds."""


class Mask2FormerDetector(Backend):
    """Objects of COCO's 80 classes with masks; colours of those a prompt asks a colour of."""

    name: ClassVar[str] = "geneval-hf"
    version: ClassVar[int] = 1
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "random-weights"
    variant: ClassVar[str] = (
        f"geneval-hf, not the official detector: {DETECTOR} has the same architecture and other "
        "weights than MMDetection's checkpoint; compare only with numbers of geneval-hf"
    )
    hub_models: ClassVar[tuple[str, ...]] = (DETECTOR, COLORS)

    edges: ClassVar[tuple[int, int]] = (1333, 800)
    """Longest and shortest edge pictures are resized into."""

    def identity(self) -> dict[str, Any]:
        """Return name, version, the commits of the two models and a hash over their files.

        Raises:
            PrerequisiteError: a model is not in the cache.
        """
        folders = {
            DETECTOR: hub.snapshot(DETECTOR),
            COLORS: hub.snapshot(COLORS, needs=(*hub.NETWORK, *hub.TOKENIZER)),
        }
        contents = "".join(hub.content_hash(folder) for folder in folders.values())
        return {
            **super().identity(),
            "variant": self.variant,
            "models": {repository: folder.name for repository, folder in folders.items()},
            "weights": hashlib.sha256(contents.encode()).hexdigest(),
            "edges": list(self.edges),
            "floor": FLOOR,
        }

    def unfit_for_prompts(self, evaluator: str, suite: PromptSuite) -> str:
        """Return which of GenEval's words it does not know."""
        return unofficial_words(evaluator, suite, who=self.name)

    def self_check(self) -> None:
        """Find what is on the sentinel's photographs."""
        require_sentinel(self, "photos")

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the detections of each image; queries are ignored.

        The prompts' `include` clauses say which classes are asked in a colour: those detections
        have a "color", null beyond the 16 best of a class, which no rule looks at.

        Raises:
            PrerequisiteError: a model is not in the cache.
            CorruptArtifactError: a model's weights do not fill it.
            ProtocolError: a model is not the one the rules are about.
        """
        detector = _Detector(self)
        prompts = {prompt.id: prompt for prompt in images.suite}
        for records, pictures in read_batches(images, batch_size):
            sizes = [picture.shape for picture in pictures]
            for _, group in groupby(range(len(records)), key=sizes.__getitem__):
                rows = list(group)
                some = [records[row] for row in rows]
                found = detector.look(
                    [pictures[row] for row in rows],
                    [asked_in_color(prompts[record.prompt_id]) for record in some],
                )
                for record, picture, detections in zip(
                    some, (pictures[row] for row in rows), found, strict=True
                ):
                    yield _record(record, picture, detections), {}


def asked_in_color(prompt: Prompt) -> set[str]:
    """Return the classes a prompt asks in a colour."""
    return {clause["class"] for clause in prompt.meta.get("include", ()) if "color" in clause}


def _record(
    record: ImageRecord, picture: np.ndarray, detections: Sequence[Mapping[str, Any]]
) -> Record:
    return {
        "prompt_id": record.prompt_id,
        "ordinal": record.ordinal,
        "height": picture.shape[0],
        "width": picture.shape[1],
        "detections": list(detections),
    }


class _Detector:
    """The two networks, loaded; the one for colours only when a colour is asked."""

    def __init__(self, backend: Mask2FormerDetector) -> None:
        from transformers import Mask2FormerForUniversalSegmentation

        self._device = hub.pick_device(backend.device)
        self._long_edge, self._short_edge = backend.edges
        self._network = hub.load_network(
            Mask2FormerForUniversalSegmentation, hub.snapshot(DETECTOR), device=self._device
        )
        self._reader: Any = None
        if self._network.config.num_labels != len(OBJECT_NAMES):
            raise ProtocolError(
                f"{DETECTOR} has {self._network.config.num_labels} classes; expected COCO's "
                f"{len(OBJECT_NAMES)}, which GenEval's names map to by index."
            )

    def look(
        self, pictures: Sequence[np.ndarray], colored: Sequence[Collection[str]]
    ) -> list[list[dict[str, Any]]]:
        """Return the detections of pictures of one size.

        Args:
            pictures: (H, W, 3) uint8 RGB.
            colored: by picture, the classes whose colour is asked.
        """
        import torch

        from evaluators.models.crop_colors import Thing
        from evaluators.models.instance_masks import find_instances, prepare

        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        pixels, inside = prepare(stacked, long_edge=self._long_edge, short_edge=self._short_edge)
        with torch.no_grad():
            output = self._network(pixel_values=pixels)
        found: list[list[dict[str, Any]]] = []
        asked: list[tuple[dict[str, Any], Thing]] = []
        for row, (picture, classes) in enumerate(zip(pictures, colored, strict=True)):
            instances = find_instances(
                output.class_queries_logits[row],
                output.masks_queries_logits[row],
                padded=(pixels.shape[2], pixels.shape[3]),
                inside=inside,
                original=(picture.shape[0], picture.shape[1]),
                floor=FLOOR,
            )
            detections: list[dict[str, Any]] = [
                {"class": OBJECT_NAMES[label], "score": score, "box": box}
                for label, score, box in zip(
                    instances.labels.tolist(),
                    instances.scores.tolist(),
                    instances.boxes.tolist(),
                    strict=True,
                )
            ]
            found.append(detections)
            for index in best_of_classes(detections, classes):
                mask = instances.masks[index].cpu().numpy()
                box = detections[index]["box"]
                name = detections[index]["class"]
                asked.append(
                    (detections[index], Thing(name=name, picture=picture, mask=mask, box=box))
                )
        self._read_colors(asked)
        return found

    def _read_colors(self, asked: Sequence[tuple[dict[str, Any], Any]]) -> None:
        """Write the colours of objects into their detections."""
        from evaluators.models.crop_colors import ColorReader

        if not asked:
            return
        if self._reader is None:
            folder = hub.snapshot(COLORS, needs=(*hub.NETWORK, *hub.TOKENIZER))
            self._reader = ColorReader(folder, repository=COLORS, device=self._device)
        colors = self._reader.read([thing for _, thing in asked])
        for (detection, _), color in zip(asked, colors, strict=True):
            detection["color"] = color


def best_of_classes(detections: Sequence[dict[str, Any]], colored: Collection[str]) -> list[int]:
    """Return the places of the best objects of the coloured classes; null the colour of all."""
    places: list[int] = []
    for name in colored:
        of_class = [i for i, detection in enumerate(detections) if detection["class"] == name]
        for index in of_class:
            detections[index]["color"] = None
        of_class.sort(key=lambda i: -detections[i]["score"])
        places += of_class[:MAX_OBJECTS]
    return sorted(places)
