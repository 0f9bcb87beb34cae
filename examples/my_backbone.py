"""A family of your own: Stable Diffusion 1.x trained more often where images are mostly noise.

    python -m bench validate examples/my_backbone.py:load_backbone --checkpoint DIR

A family is a module with `load_backbone` and `PIPELINE_CLASS`, the `_class_name` that its
checkpoints' `model_index.json` holds. An installed package says so in its pyproject.toml, and every
verb then takes its checkpoints:

    [project.entry-points."bench.backbones"]
    sd-noisier = "my_backbone:load_backbone"
"""

from dataclasses import replace
from pathlib import Path
from typing import Unpack

from torch import Tensor

from bench.backbones.loading import How
from bench.backbones.sd import FAMILY as SD
from bench.backbones.sd import StableDiffusionBackbone

PIPELINE_CLASS = "NoisierDiffusionPipeline"


class NoisierDiffusion(StableDiffusionBackbone):
    """As its base, but that t is drawn with a density that grows linearly."""

    family = "sd-noisier"

    def timesteps(self, uniform: Tensor) -> Tensor:
        """Map (B,) numbers uniform in [0, 1) to timesteps (B,)."""
        return super().timesteps(uniform.sqrt())


FAMILY = replace(
    SD, pipeline_class=PIPELINE_CLASS, title="noisier SD-1.x", backbone=NoisierDiffusion
)


def load_backbone(checkpoint: str | Path, **how: Unpack[How]) -> StableDiffusionBackbone:
    """Load a checkpoint; arguments and errors as those of `bench.backbones.loading.Family.load`."""
    return FAMILY.load(checkpoint, **how)
