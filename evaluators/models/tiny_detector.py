"""The tiny world's detector: pixels to objects, with a calibrated confidence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.api.prompts import PromptSuite
from bench.read.text import read_text
from bench.tiny.assets import path_of
from bench.tiny.detect import DETECT_VERSION, find
from bench.tiny.world import COLORS, SHAPES
from evaluators.geneval.clauses import unknown_words
from evaluators.models.images import prediction, read_batches
from evaluators.sentinel import require_sentinel


class TinyDetector(Backend):
    """Finds shapes by colour, connected pixels and templates (`bench.tiny.detect`).

    The score is the probability, fitted by logistic regression on VAE round trips of scenes
    whose truth is known, that shape and colour are both right; so 0.3 and 0.9 mean here what
    they mean for a real detector.
    """

    name: ClassVar[str] = "tiny-detector"
    version: ClassVar[int] = DETECT_VERSION
    batches_of: ClassVar[str] = "images"
    verified: ClassVar[str] = "real-weights"

    def identity(self) -> dict[str, Any]:
        """Return name, version and the calibration's coefficients."""
        return {**super().identity(), "calibration": self._calibration}

    @cached_property
    def _calibration(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(read_text(path_of("tiny-detector") / "config.json"))
        return {
            "mean": data["mean"],
            "std": data["std"],
            "weight": data["weight"],
            "bias": data["bias"],
        }

    def unfit_for_prompts(self, evaluator: str, suite: PromptSuite) -> str:
        """Return which of GenEval's words it does not know."""
        if evaluator != "geneval":
            return ""
        return unknown_words(suite, classes=SHAPES, colors=COLORS, who=self.name)

    def self_check(self) -> None:
        """Find the shapes of the sentinel's scenes."""
        require_sentinel(self, "tiny")

    def confidence(self, features: Sequence[float]) -> float:
        """Return the calibrated probability that a detection is right."""
        c = self._calibration
        logit = c["bias"] + sum(
            w * (f - m) / s
            for f, m, s, w in zip(features, c["mean"], c["std"], c["weight"], strict=True)
        )
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the detections of each image; queries are ignored."""
        for records, pictures in read_batches(images, batch_size):
            for record, pixels in zip(records, pictures, strict=True):
                detections = [
                    {
                        "class": thing.shape,
                        "score": round(self.confidence(thing.features()), 5),
                        "box": [round(v, 3) for v in thing.box],
                        "color": thing.color,
                    }
                    for thing in find(pixels)
                ]
                yield prediction(
                    record, height=pixels.shape[0], width=pixels.shape[1], detections=detections
                )
