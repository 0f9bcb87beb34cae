"""The families of diffusion models, by name and by the pipeline class their folders name.

A module is imported when a checkpoint of its family is loaded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from bench.api.errors import BenchError, ContractError, UsageError, did_you_mean
from bench.api.registry import FunctionRegistry

if TYPE_CHECKING:
    from bench.backbones.base import Backbone
    from bench.backbones.loading import How

LOG = logging.getLogger(__name__)

BACKBONES = FunctionRegistry(
    kind="backbone",
    bases=(),
    group="bench.backbones",
    built_in={
        "sana": "bench.backbones.sana:load_backbone",
        "sd": "bench.backbones.sd:load_backbone",
        "sd3": "bench.backbones.sd3:load_backbone",
        "sdxl": "bench.backbones.sdxl:load_backbone",
    },
)
"""What loads a checkpoint of each family. Its module also has `PIPELINE_CLASS`, see below."""

PIPELINES: Mapping[str, str] = {
    "SanaPipeline": "sana",
    "StableDiffusion3Pipeline": "sd3",
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
}
"""The built-in family of each pipeline class (`_class_name` in `model_index.json`). That of an
installed package is the `PIPELINE_CLASS` of its module, which is imported for other classes only.
"""


def family_of(pipeline_class: str, checkpoint: str) -> str:
    """Return the family of a pipeline class; `checkpoint` is for the message.

    Raises:
        UsageError: no adapter is for such pipelines; the known ones are listed.
    """
    if pipeline_class in PIPELINES:
        return PIPELINES[pipeline_class]
    pipelines = _installed(loaded=True)  # a step's own: others are not imported beside it
    if pipeline_class not in pipelines:
        pipelines = {**_installed(), **PIPELINES}
    if pipeline_class not in pipelines:
        known = ", ".join(f"{name} ({family})" for name, family in sorted(pipelines.items()))
        near = did_you_mean(pipeline_class, pipelines)
        raise UsageError(f"{checkpoint} holds a {pipeline_class}; expected one of {known}.{near}")
    return pipelines[pipeline_class]


def _installed(*, loaded: bool = False) -> dict[str, str]:
    """Return the families of installed packages by pipeline class; what fails is told.

    Args:
        loaded: only those whose module this process has imported already.
    """
    found = {}
    for entry in BACKBONES.entries().values():
        if entry.origin == "built-in" or (loaded and entry.module not in sys.modules):
            continue
        try:
            found[pipeline_class_of(BACKBONES.load(entry.name))] = entry.name
        except BenchError as error:
            LOG.warning("backbone %s of %s cannot be used: %s", entry.name, entry.origin, error)
    return found


def pipeline_class_of(load: Callable[..., Backbone]) -> str:
    """Return which pipelines a family's `load_backbone` is for.

    Raises:
        ContractError: its module does not say it.
    """
    name = getattr(sys.modules.get(load.__module__), "PIPELINE_CLASS", None)
    if not isinstance(name, str):
        raise ContractError(
            f"{load.__module__} has no PIPELINE_CLASS; set it to the `_class_name` that the "
            "model_index.json of its checkpoints holds."
        )
    return name


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> Backbone:
    """Load a checkpoint of any family from a folder, the hub's cache, or the hub.

    Args:
        checkpoint: folder with `model_index.json`, or hub id.
        how: revision, dtype, device, local_files_only; see `bench.backbones.loading.Family.load`.

    Raises:
        PrerequisiteError: files are missing; the message has the command that gets them.
        UsageError: no adapter is for the checkpoint's pipeline.
        CorruptArtifactError: weights do not fill the network.
    """
    from bench.backbones.hub import PipelineFiles

    files = PipelineFiles(
        checkpoint=str(checkpoint),
        revision=how.get("revision"),
        local_files_only=how.get("local_files_only", False),
    )
    family = family_of(files.pipeline_class(), files.checkpoint)
    loaded: Backbone = BACKBONES.load(family)(checkpoint, **how)
    return loaded
