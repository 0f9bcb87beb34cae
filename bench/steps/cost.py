"""Seconds that work takes one worker, for `plan` alone: no number hangs on them. No torch.

Two sources. A profile's own speed (`speed.image_step_seconds`, `speed.pair_seconds`), measured
where it was written. Or a named GPU (`speed.gpu`, `plan --gpu`): operations and bytes of the
published backbone, counted by `benchmarks/flops.py`, over what of the peak is assumed to be
reached. Whichever of arithmetic and memory takes longer counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.api.errors import UsageError, unknown
from bench.api.generation import GenerationSpec
from bench.published import Backbone, backbones
from bench.published.gpus import Gpu, gpu
from bench.spec.methods import StagePlan
from bench.spec.profile import Profile, Speed

SAMPLING_SHARE = 0.25
TRAINING_SHARE = 0.30
"""Share of the peak that sampling and training reach: assumed, not measured."""
_MOVED = 3.0
"""How often a forward's activations pass through memory."""
_UPDATED = 28
"""Bytes that an AdamW step moves for each trained weight: four float32 read, three written."""
_PUBLISHED_PAIR = 8.0
"""Forwards in a pair of full Diffusion-DPO, which `Speed.pair_seconds` is of: of two images, one
each of the reference and three of the policy, two of which are its backward."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one forward costs here.

    Attributes:
        speed: the profile's.
        gpu: that is budgeted with; None takes the profile's own seconds.
        backbone: the base's, where a GPU is.
        batch: images a forward of sampling.
    """

    speed: Speed
    gpu: Gpu | None
    backbone: Backbone | None
    batch: int

    def images(self, count: int, spec: GenerationSpec) -> float:
        """Return seconds of sampling so many images."""
        forwards = spec.steps * (2 if spec.cfg_scale != 1.0 else 1)
        half = spec.dtype != "float32"
        area = spec.height * spec.width
        each = forwards * self.forward(half=half, batch=self.batch, area=area)
        return count * (each + self._decoding(half, area))

    def forward(self, *, half: bool, batch: int, area: int | None = None) -> float:
        """Return seconds of one forward for one image.

        Args:
            half: of 2 bytes a number, else of 4.
            batch: images in it, which share the reading of the weights.
            area: pixels of an image; None is what the backbone was made for.
        """
        if self.gpu is None or self.backbone is None:
            return self.speed.image_step_seconds
        return self._seconds(self.backbone.forward_flops, half, batch, area, SAMPLING_SHARE)

    def training(self, stage: StagePlan) -> float:
        """Return seconds of a whole training."""
        train = stage.train
        pairs, work = train.steps * train.batch, pair_forwards(stage)
        if self.gpu is None or self.backbone is None:
            return pairs * self.speed.pair_seconds * work / _PUBLISHED_PAIR
        half = train.precision in ("bf16", "fp16")
        flops, batch = self.backbone.forward_flops, train.micro_batch
        each = self._seconds(flops, half, batch, None, TRAINING_SHARE)
        full = train.mode == "full"
        updated = _UPDATED * self.backbone.parameters / self.gpu.bandwidth / 1e9 if full else 0.0
        return pairs * work * each + train.steps * updated

    def _decoding(self, half: bool, area: int) -> float:
        if self.gpu is None or self.backbone is None:
            return 0.0
        return self._arithmetic(self.backbone.decode_flops, half, area, SAMPLING_SHARE)

    def _seconds(
        self, flops: float, half: bool, batch: int, area: int | None, share: float
    ) -> float:
        assert self.gpu is not None and self.backbone is not None
        bytes_each, scale = 2 if half else 4, self._scale(area)
        moved = bytes_each * self.backbone.parameters / batch
        moved += _MOVED * bytes_each / 4 * self.backbone.activation_bytes * scale
        return max(self._arithmetic(flops, half, area, share), moved / (self.gpu.bandwidth * 1e9))

    def _arithmetic(self, flops: float, half: bool, area: int | None, share: float) -> float:
        assert self.gpu is not None
        peak = self.gpu.half_tflops if half else self.gpu.single_tflops
        return flops * self._scale(area) / (peak * 1e12 * share)

    def _scale(self, area: int | None) -> float:
        """Operations grow with the pixels; that attention's grow faster is left out."""
        assert self.backbone is not None
        return 1.0 if area is None else area / self.backbone.resolution**2

    def words(self) -> str:
        """Return how times were estimated, one sentence; empty for the profile's own seconds."""
        if self.gpu is None or self.backbone is None:
            return ""
        return (
            f"times: {self.gpu.title}, by arithmetic from {self.backbone.title}'s operations at "
            f"{100 * SAMPLING_SHARE:.0f} % of its peak when sampling and "
            f"{100 * TRAINING_SHARE:.0f} % when training (assumed); evaluators roughly"
        )


def pair_forwards(stage: StagePlan) -> float:
    """Return what one pair, or one image, of an optimiser step costs, in forwards.

    A backward is two forwards, with an adapter one: the frozen weights need no gradients. The
    reference is asked once an image, and samples of the policy are added.
    """
    method, train = stage.method, stage.train
    policy = 3.0 if train.mode == "full" else 2.0
    policy += 1.0 if train.gradient_checkpointing else 0.0
    images = 2.0 if method.needs.batch_has_loser else 1.0
    rollout = method.rollout("epsilon")
    return images * (policy + float(method.uses_reference)) + (rollout.steps if rollout else 0)


def cost_of(profile: Profile) -> Cost:
    """Return what work costs in a profile.

    Raises:
        UsageError: the GPU or the backbone is unknown, or `--gpu` is asked for a base whose
            operations nobody counted.
    """
    speed = profile.speed
    batch = int(profile.batch_sizes.get("generation", 1))
    if speed.gpu is None:
        return Cost(speed=speed, gpu=None, backbone=None, batch=batch)
    found = gpu(speed.gpu)
    backbone = _backbone(profile)
    asked = profile.asked.get("speed", {})
    if backbone is None and "gpu" in asked:
        raise UsageError(
            f"--gpu {speed.gpu}: how many operations {profile.checkpoint.location} takes is not "
            f"known. Known are {', '.join(backbones())}: say which it is like by --set "
            "speed.backbone=NAME."
        )
    return Cost(speed=speed, gpu=found if backbone else None, backbone=backbone, batch=batch)


def _backbone(profile: Profile) -> Backbone | None:
    """Return the backbone whose operations the base takes; None where they were not counted."""
    named = profile.speed.backbone
    if named is not None and named not in backbones():
        raise unknown("backbone", named, backbones())
    base = profile.checkpoint
    for name, backbone in backbones().items():
        same = base.kind == "hub" and backbone.checkpoint == base.location
        if (name == named or (named is None and same)) and backbone.forward_flops:
            return backbone
    return None
