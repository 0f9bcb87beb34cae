"""A micro table: a checkpoint of random weights, a few prompts, back-ends that look at pixels.

Nothing here is a mock: images are sampled, methods trained, predictions computed from pixels and
scored by the real evaluators; all is only too small to mean anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api.evaluator import Backend, Record
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.tiny.suites import captions_tiny, compbench_tiny, geneval_tiny

COLORS = ("red", "green", "blue")
PROFILE = """
title: "micro"
checkpoint: {{kind: path, location: {checkpoint}}}
protocol: micro
renderer: bench.tiny.truth
backends:
  detector: "tests.steps.toys:ToyDetector"
  vqa: "tests.steps.toys:ToyVQA"
  clip: "tests.steps.toys:ToyClip"
  features: "tests.steps.toys:ToyFeatures"
pairs:
  suite: {{function: "tests.steps.toys:pair_prompts"}}
  generation: &sampling {{steps: 2, cfg_scale: 2.0, height: 8, width: 8}}
training:
  common: {{steps: 3, batch: 4, micro_batch: 4, lr: 1e-3, save_every: 1}}
  methods:
    diffusion-dpo: {{method: {{beta_half_mean: 200}}}}
    ddspo: {{method: {{beta_half_mean: 200}}}}
protocols:
  micro:
    geneval:
      suite: {{function: "tests.steps.toys:geneval_micro"}}
      images_per_prompt: 2
      generation: *sampling
    t2i-compbench:
      suite: {{function: "tests.steps.toys:compbench_micro"}}
      images_per_prompt: 2
      generation: *sampling
    fid: &captions
      suite: {{function: "tests.steps.toys:captions_micro"}}
      images_per_prompt: 2
      generation: *sampling
      reference: {{images_per_prompt: 2}}
    inception-score: *captions
batch_sizes: {{generation: 4, prediction: 8}}
"""


def geneval_micro() -> PromptSuite:
    """Twelve prompts, two of each task."""
    return geneval_tiny("validation").limited(12)


def compbench_micro() -> PromptSuite:
    """Twelve prompts, two of each category."""
    return compbench_tiny("validation").limited(12)


def captions_micro() -> PromptSuite:
    """Eight captions."""
    return captions_tiny("validation").limited(8)


def pair_prompts() -> PromptSuite:
    """Six prompts of six words or more."""
    texts = [f"a red circle and {n} blue square of two" for n in ("a", "one", "two", "no")]
    prompts = tuple(Prompt(id=f"p{i}", text=text, tag="pair") for i, text in enumerate(texts))
    return PromptSuite(name="pairs-micro", version="1", prompts=prompts)


def many_pair_prompts() -> PromptSuite:
    """Seventy prompts: two parts of a pair set, and some."""
    texts = [f"a red circle and one blue square number {n}" for n in range(70)]
    prompts = tuple(Prompt(id=f"p{i}", text=text, tag="pair") for i, text in enumerate(texts))
    return PromptSuite(name="pairs-many", version="1", prompts=prompts)


def write_profile(folder: Path, checkpoint: Path, **changes: str) -> Path:
    """Write the micro profile; `changes` replaces text in it."""
    text = PROFILE.format(checkpoint=checkpoint)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "micro.yaml"
    path.write_text(text)
    return path


def save_checkpoint(folder: Path) -> Path:
    """Write a random SD-1.x pipeline of toy width (8x8 images) into `folder`."""
    from tests.training.nets import tiny_backbone

    pipeline = tiny_backbone(folder.parent / "parts").pipeline()
    # little noise at the last timestep: untrained weights then still end in latents of scale one
    pipeline.scheduler = type(pipeline.scheduler).from_config(
        pipeline.scheduler.config, beta_start=1e-4, beta_end=5e-4
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


class _Pixels(Backend):
    """Mean colour of each image, float64 (3,)."""

    version: ClassVar[int] = 1

    def look(self, images: ImageSet, wanted: Mapping[str, Any] | None) -> Iterator[Any]:
        from PIL import Image

        for record in images.records:
            if wanted is None or record.prompt_id in wanted:
                with Image.open(images.root / record.path) as picture:
                    yield record, np.asarray(picture.convert("RGB")).astype(np.float64) / 255.0


class ToyDetector(_Pixels):
    """One box: its class and colour by the brightest channel."""

    name: ClassVar[str] = "toy-detector"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        for record, pixels in self.look(images, None):
            mean = pixels.mean(axis=(0, 1))
            kind = ("circle", "square", "triangle")[int(mean.argmax())]
            found = {"class": kind, "score": float(mean.max()), "box": [1.0, 1.0, 6.0, 6.0]}
            yield (
                {
                    "prompt_id": record.prompt_id,
                    "ordinal": record.ordinal,
                    "height": pixels.shape[0],
                    "width": pixels.shape[1],
                    "detections": [{**found, "color": COLORS[int(mean.argmax())]}],
                },
                {},
            )


class ToyVQA(_Pixels):
    """The probability of yes is a function of the phrase's length and the image's mean."""

    name: ClassVar[str] = "toy-vqa"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        for record, pixels in self.look(images, queries):
            texts = queries[record.prompt_id]
            yes = [float((pixels.mean() * len(text)) % 1.0) for text in texts]
            yield {"prompt_id": record.prompt_id, "ordinal": record.ordinal, "yes": yes}, {}


class ToyClip(_Pixels):
    """The cosine is the spread of the image's pixels."""

    name: ClassVar[str] = "toy-clip"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        for record, pixels in self.look(images, queries):
            cosine = [float(pixels.std()) for _ in queries[record.prompt_id]]
            yield {"prompt_id": record.prompt_id, "ordinal": record.ordinal, "cosine": cosine}, {}


class ToyFeatures(_Pixels):
    """Mean and spread of the channels; three class scores."""

    name: ClassVar[str] = "toy-features"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        for record, pixels in self.look(images, None):
            mean, std = pixels.mean(axis=(0, 1)), pixels.std(axis=(0, 1))
            yield (
                {"prompt_id": record.prompt_id, "ordinal": record.ordinal},
                {
                    "features": np.concatenate([mean, std]).astype(np.float32),
                    "logits": (8.0 * mean).astype(np.float32),
                },
            )


class BrokenFeatures(ToyFeatures):
    """Answers NaN for one image."""

    name: ClassVar[str] = "broken-features"

    def predict(
        self, images: ImageSet, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[tuple[Record, Mapping[str, np.ndarray]]]:
        for number, (record, arrays) in enumerate(super().predict(images, queries)):
            if number == 3:
                arrays = {key: np.full_like(array, np.nan) for key, array in arrays.items()}
            yield record, arrays
