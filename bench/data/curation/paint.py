"""Diffusion pipelines that make the degraded copies, from a folder or the hub's cache."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn

from bench.api.errors import BenchError, UsageError
from bench.api.generation import image_seed
from bench.backbones.base import place, resolve_dtype
from bench.backbones.hub import PipelineFiles
from bench.data.curation.saliency import switched_on
from bench.data.curation.settings import NegativeSettings
from bench.generation.checkpoint import CheckpointRef
from bench.generation.sample import generators, make_scheduler, to_uint8
from bench.generation.weights import UNUSED_PARTS

INPAINT: dict[str, str] = {
    "StableDiffusionInpaintPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionPipeline": "StableDiffusionInpaintPipeline",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLInpaintPipeline",
    "StableDiffusion3InpaintPipeline": "StableDiffusion3InpaintPipeline",
    "StableDiffusion3Pipeline": "StableDiffusion3InpaintPipeline",
}
"""Pipeline of a checkpoint -> the one that paints in it. One that was not trained for it (four
channels in) blends the known latents in at each step."""

TEXT = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline")
"""Pipelines that draw from text alone."""


class Painter:
    """A loaded pipeline with the settings of the negatives.

    Args:
        settings: of the negatives.
        size: side of the images in pixels.
        device: where it runs.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        UsageError: its pipeline cannot do this.
        CorruptArtifactError: its weights do not fill its networks.
    """

    def __init__(self, settings: NegativeSettings, *, size: int, device: str) -> None:
        self._settings = settings
        self._size = size
        self._pipeline = load_pipeline(settings, device=device)

    @torch.no_grad()
    def paint(
        self,
        uids: Sequence[str],
        captions: Sequence[str],
        images: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
    ) -> np.ndarray:
        """Return (B, size, size, 3) uint8 degraded copies.

        Each has a generator of its own, keyed by its uid. (The published code set no seed.)

        Args:
            uids: of the B images.
            captions: their texts.
            images: (size, size, 3) uint8 each.
            masks: soft masks (size, size) uint8 each; ignored where nothing is inpainted.

        Raises:
            BenchError: the pipeline gives a NaN or an infinity.
        """
        settings = self._settings
        arguments: dict[str, Any] = {}
        if settings.kind != "text":
            if settings.kind == "whole":
                masks = [np.full(image.shape[:2], 255, np.uint8) for image in images]
            arguments = {
                "image": [Image.fromarray(image) for image in images],
                "mask_image": [Image.fromarray(mask) for mask in masks],
                "strength": settings.strength,
            }
        verbosity = diffusers.logging.get_verbosity()
        diffusers.logging.set_verbosity_error()  # it prints the cut-off end of each long caption
        result = self._pipeline(
            prompt=list(captions),
            num_inference_steps=settings.steps,
            guidance_scale=settings.cfg_scale,
            height=self._size,
            width=self._size,
            generator=generators([image_seed(uid, 0, settings.seed) for uid in uids]),
            output_type="pt",
            **arguments,
        ).images
        diffusers.logging.set_verbosity(verbosity)
        if not bool(torch.isfinite(result).all()):
            raise BenchError(
                f"{settings.checkpoint}: a painted image holds a NaN or an infinity (dtype "
                f"{settings.dtype}), among {', '.join(uids[:3])}. Use negatives.dtype float32."
            )
        painted = to_uint8(result)
        if settings.paste_back:
            painted = np.stack(
                [pasted_back(*both) for both in zip(images, painted, masks, strict=True)]
            )
        return painted


def pasted_back(real: np.ndarray, painted: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Return the painted pixels (H, W, 3) where the mask is on, the real ones elsewhere."""
    return np.where(switched_on(soft)[..., None], painted, real)


def load_pipeline(settings: NegativeSettings, *, device: str) -> Any:
    """Return the diffusers pipeline that makes negatives. Raises as `Painter`."""
    ref = CheckpointRef.parse(str(settings.checkpoint))
    if ref.kind == "train":
        raise UsageError(f"{ref.location} is a training; name a folder or hub id of a pipeline.")
    folder = ref.folder()
    files = PipelineFiles(checkpoint=str(folder), revision=None, local_files_only=True)
    found = files.pipeline_class()
    known = {name: name for name in TEXT} if settings.kind == "text" else INPAINT
    if found not in known:
        raise UsageError(
            f"negatives.checkpoint {settings.checkpoint} holds a {found}, which cannot make "
            f"negatives of kind {settings.kind!r}; expected one of {', '.join(sorted(known))}."
        )
    pipeline_class = getattr(diffusers, known[found])
    parts = _load_parts(files, device, resolve_dtype(settings.dtype))
    if settings.scheduler != "default":
        parts["scheduler"] = make_scheduler(parts["scheduler"], settings.scheduler, {})
    pipeline = pipeline_class(**parts, **_without_checker(pipeline_class))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_parts(files: PipelineFiles, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Load what `model_index.json` names; networks are checked to be filled exactly."""
    parts: dict[str, Any] = {}
    for name, value in DiffusionPipeline.load_config(files.checkpoint).items():
        if name.startswith("_") or not isinstance(value, list) or name in UNUSED_PARTS:
            continue
        library, class_name = value
        if class_name is None:
            parts[name] = None
            continue
        if library not in ("diffusers", "transformers"):
            raise UsageError(
                f"{files.checkpoint}: part {name} is of {library!r}; expected diffusers' or "
                "transformers' own classes."
            )
        part_class = getattr(importlib.import_module(library), class_name)
        if name.startswith("tokenizer"):
            parts[name] = files.load_tokenizer(part_class, name)
        elif issubclass(part_class, nn.Module):
            network = files.load_weights(part_class, name).requires_grad_(False).eval()
            parts[name] = place(network, device, dtype)
        else:
            parts[name] = files.load(part_class, name)
    return parts


def _without_checker(pipeline_class: Any) -> dict[str, Any]:
    """Return the arguments that leave the safety checker out, for pipelines that know one."""
    if "safety_checker" not in pipeline_class.__init__.__annotations__:
        return {}
    return {
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
