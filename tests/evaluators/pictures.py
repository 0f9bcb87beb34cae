"""Image sets of random pictures, and predictions of a back-end over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.api import Backend, ImageRecord, ImageSet, Predictions, Prompt, PromptSuite
from tests.precision import FORWARD

TEXTS = {"p0": "a red circle", "p1": "two blue squares and a cross", "p2": "a green thing"}
SIZES = ((32, 32), (48, 40), (20, 33))


def suite(name: str = "three", tags: Sequence[str] = ("", "", "")) -> PromptSuite:
    """Return three prompts."""
    prompts = tuple(
        Prompt(id=key, text=text, tag=tag)
        for (key, text), tag in zip(TEXTS.items(), tags, strict=True)
    )
    return PromptSuite(name=name, version="1", prompts=prompts)


def make_images(folder: Path, *, per_prompt: int = 2, sizes: Sequence[Any] = SIZES) -> ImageSet:
    """Write pictures of several sizes and return them as a set."""
    generator = np.random.default_rng(0)
    records = []
    for number, key in enumerate(TEXTS):
        for ordinal in range(per_prompt):
            height, width = sizes[(number + ordinal) % len(sizes)]
            pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            path = f"{key}-{ordinal}.png"
            Image.fromarray(pixels).save(folder / path)
            records.append(
                ImageRecord(prompt_id=key, ordinal=ordinal, path=path, sha256="", seed=0)
            )
    return ImageSet(
        root=folder, suite=suite(), images_per_prompt=per_prompt, records=tuple(records)
    )


def ask(texts: int = 1) -> dict[str, tuple[str, ...]]:
    """Return queries: each prompt, and perhaps variations of it."""
    return {k: tuple(f"{t}{' x' * n}" for n in range(texts)) for k, t in TEXTS.items()}


def predict(
    backend: Backend, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch: int = 4
) -> list[dict[str, Any]]:
    """Return the back-end's records."""
    return [dict(record) for record, _ in backend.predict(images, queries, batch_size=batch)]


def assert_batches_and_order_change_nothing(
    backend: Backend, images: ImageSet, queries: Mapping[str, Sequence[str]]
) -> None:
    """Scores one by one, together, and in reverse order agree up to the rounding of a forward."""
    together = predict(backend, images, queries, batch=8)
    reversed_set = replace(images, records=tuple(reversed(images.records)))
    for other in (
        predict(backend, images, queries, batch=1),
        list(reversed(predict(backend, reversed_set, queries, batch=4))),
    ):
        assert [(r["prompt_id"], r["ordinal"]) for r in other] == [
            (r["prompt_id"], r["ordinal"]) for r in together
        ]
        for a, b in zip(together, other, strict=True):
            numbers = "score" if "score" in a else "chances"
            np.testing.assert_allclose(a[numbers], b[numbers], rtol=FORWARD, atol=FORWARD)
            assert a.get("answer") == b.get("answer")


def stored(records: Sequence[Mapping[str, Any]]) -> Predictions:
    """Return records as stored predictions."""
    return Predictions(records=[dict(record) for record in records])
