"""How images are made, and the images that were made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.api.errors import IncompleteError, UsageError
from bench.api.prompts import PromptSuite
from bench.read.text import stands_for_nothing


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """Everything in the sampling of an image that can change its pixels.

    Attributes:
        scheduler: class name in diffusers, e.g. `"PNDMScheduler"`; `"default"` keeps the
            checkpoint's own.
        scheduler_config: overrides of that scheduler's configuration.
        steps: number of denoising steps.
        cfg_scale: classifier-free guidance scale; 1.0 means no guidance.
        height, width: pixels.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`.
        negative_prompt: text of the unconditional branch.
        negative: makes a text of the unconditional branch for each prompt instead: `"none"`, a
            perturbation that needs no model, or `"rand-removal:SHARE"`; see
            `bench.generation.negative`.
        seed_rule: `"per-image"` (a generator per image keyed by prompt text, ordinal, seed).
        file_format: `"png"` or `"jpeg75"`.
    """

    steps: int
    cfg_scale: float
    height: int
    width: int
    scheduler: str = "default"
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    negative_prompt: str = ""
    negative: str = "none"
    seed_rule: str = "per-image"
    file_format: str = "png"

    def __post_init__(self) -> None:
        """Refuse a negative prompt that stands for none (UsageError): it would be encoded."""
        if self.negative_prompt and stands_for_nothing(self.negative_prompt):
            raise UsageError(
                f"negative_prompt is {self.negative_prompt!r}, a text like any other here; write "
                "'' where none is meant"
            )

    def identity(self) -> dict[str, Any]:
        """Return the JSON-able mapping that enters an artifact's hash."""
        data = {**asdict(self), "scheduler_config": dict(self.scheduler_config)}
        if self.negative == "none":  # as before there was such a setting
            del data["negative"]
        return data


def image_seed(text: str, ordinal: int, seed: int) -> int:
    """Return the 63-bit seed of one image: a hash of (prompt text, ordinal, seed).

    Batch size, device count and the order of generation do not enter.
    """
    digest = hashlib.sha256(f"{seed}\x1f{ordinal}\x1f{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One image of a set: `path` is relative to the set's root."""

    prompt_id: str
    ordinal: int
    path: str
    sha256: str
    seed: int

    @property
    def key(self) -> str:
        """`<prompt id>/<ordinal>`: the image's name in every record made from it."""
        return f"{self.prompt_id}/{self.ordinal}"


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images on disk with the suite and the exact generation settings they came from.

    Attributes:
        root: folder that holds the files.
        suite: the prompts.
        images_per_prompt: ordinals run from 0 to this, times the prompt's `times`, less one.
        spec: generation settings, or None for images this harness did not make.
        records: one entry per image, in suite order, ordinals inside.
        identity: hash of the artifact the images came from.
    """

    root: Path
    suite: PromptSuite
    images_per_prompt: int
    records: tuple[ImageRecord, ...]
    spec: GenerationSpec | None = None
    identity: str = ""

    def require_complete(self) -> None:
        """Raise IncompleteError naming the images that are missing on disk or in the list."""
        wanted = [f"{p.id}/{k}" for p, k in self.suite.images(self.images_per_prompt)]
        have = {r.key: r for r in self.records}
        missing = [k for k in wanted if k not in have or not (self.root / have[k].path).is_file()]
        if missing:
            shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            raise IncompleteError(
                f"image set {self.root} lacks {len(missing)} of {len(wanted)} images: {shown}. "
                "A score over an incomplete set is not the metric; run the same `bench` command "
                "again to make them."
            )

    def paths(self) -> list[Path]:
        """Absolute paths in record order."""
        return [self.root / r.path for r in self.records]
