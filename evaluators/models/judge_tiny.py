"""Judges of the tiny world that know its truth: no network looks, and nobody was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from bench.api.errors import IncompleteError, UsageError
from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.data.oracle import QUALITY_WEIGHT, quality, satisfaction
from bench.data.oracle import VERSION as ORACLE_VERSION
from bench.tiny.suites import meaning_of
from evaluators.models.images import prediction, read_batches

MARGIN = 0.02
"""Scores (0 to 1.5) that are nearer are a tie."""

JUDGES: dict[str, Callable[[float, float], float]] = {
    "says-what-is-asked": lambda asked, good: asked,
    "looks-good": lambda asked, good: good,
    "both": lambda asked, good: asked + QUALITY_WEIGHT * good,
}
"""Of the share of the prompt that holds and the place on the quality axis, what each looks at."""


class TinyTruthJudge(Backend):
    """Three judges that prefer by the world's truth: alignment, quality, or both.

    Alignment is what the pixel detector finds of what the prompt says, quality the world's quality
    axis (`bench.data.oracle`). They differ, so there is agreement to measure; they have no
    position bias and always answer legibly.
    """

    name: ClassVar[str] = "tiny-truth-judge"
    version: ClassVar[int] = 1
    verified: ClassVar[str] = "rules"

    def identity(self) -> dict[str, Any]:
        """Return name, version, and what decides."""
        return {**super().identity(), "oracle": ORACLE_VERSION, "margin": MARGIN}

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        """Yield the replies when each image is shown first, the other image of its pair second.

        Raises:
            IncompleteError: the prompts have other than two images.
            UsageError: a prompt is not of the tiny world.
        """
        if images.images_per_prompt != 2:
            raise IncompleteError(
                f"{self.name}: {images.images_per_prompt} images per prompt; expected pairs"
            )
        meanings = {}
        for prompt in images.suite:
            if "meaning" not in prompt.meta:
                raise UsageError(f"{self.name}: prompt {prompt.id} is not of the tiny world")
            meanings[prompt.id] = meaning_of(prompt)
        facts: dict[tuple[str, int], tuple[float, float]] = {}
        for records, pictures in read_batches(images, batch_size):
            for record, pixels in zip(records, pictures, strict=True):
                asked = satisfaction(pixels, meanings[record.prompt_id])
                facts[record.prompt_id, record.ordinal] = (asked, quality(pixels))
        for record in images.records:
            first = facts[record.prompt_id, record.ordinal]
            second = facts[record.prompt_id, 1 - record.ordinal]
            replies = {name: _reply(look(*first) - look(*second)) for name, look in JUDGES.items()}
            yield prediction(record, replies=replies)


def _reply(lead: float) -> str:
    return json.dumps({"choice": 0 if abs(lead) < MARGIN else 1 if lead > 0 else 2})
