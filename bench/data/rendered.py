"""The kind `rendered`: clean pictures of the tiny world as winners, under their captions.

They stand for the real photographs of RealAlign: right, and better than the base model draws. A
loser, where one is wanted, is

- `degraded`: the same scene blurred, noisy or washed out;
- `base`: the base model's own picture of the prompt;
- `none`: no losers, which is all that RealAlign's first stage and SFT need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from bench.api.errors import UsageError, did_you_mean
from bench.api.generation import GenerationSpec, image_seed
from bench.api.prompts import Prompt, PromptSuite
from bench.data.augmentation import ONCE, Draws, side_latents
from bench.data.kinds import How, read_settings
from bench.data.spec import KIND
from bench.data.stored import StoredRow, write_set
from bench.generation.checkpoint import (
    CheckpointRef,
    device_name,
    load_pipeline_backbone,
    pick_device,
)
from bench.generation.image_set import read_spec, read_suite, spec_identity, suite_identity
from bench.read.names import artifact_name
from bench.store import Artifact, Store, Work
from bench.tiny.render import render
from bench.tiny.scenes import SCENES_VERSION, scene_for
from bench.tiny.suites import meaning_of
from bench.tiny.truth import QUALITIES
from bench.tiny.world import WORLD_VERSION, Scene

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
"""Bumped when the pairs of unchanged settings may change."""

LOSERS = ("degraded", "base", "none")
_FAULTS = {"blur": (0.9, 1.6), "noise": (14.0, 26.0), "wash": (0.4, 0.6)}
"""As strong as the world's words "blurred", "noisy" and "washed-out" mean."""


@dataclass(frozen=True, kw_only=True)
class RenderedSettings:
    """The settings.

    Attributes:
        suite: prompts of the tiny world, as `suite_json` gives them.
        loser: one of `LOSERS`.
        generation: how a loser `base` is sampled, as `GenerationSpec.identity()`.
        posterior: see `bench.data.images.POSTERIORS`.
        augmentation: when a sample of it is drawn; see `bench.data.augmentation`. Nothing is
            flipped: the prompts say left and right.
        seed: of the scenes, the faults and the sampled losers.
        quality: of what the prompts do not say: `"clean"`, or `"world"`, as the base was trained:
            another source of pictures.

    Raises:
        UsageError: a value is unknown, or `generation` and `loser` do not fit together.
    """

    suite: Mapping[str, Any]
    loser: str = "degraded"
    generation: Mapping[str, Any] | None = None
    posterior: str = "sample"
    augmentation: str = ONCE
    seed: int = 0
    quality: str = "clean"

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            hint = did_you_mean(self.quality, QUALITIES)
            raise UsageError(f"unknown quality {self.quality!r}.{hint}")
        if self.loser not in LOSERS:
            raise UsageError(f"unknown loser {self.loser!r}.{did_you_mean(self.loser, LOSERS)}")
        if (self.loser == "base") != (self.generation is not None):
            raise UsageError(
                "generation says how losers of the kind 'base' are sampled: give it with "
                "loser: base, and with no other."
            )
        _ = self.draws  # its values are checked there
        if self.loser == "base" and self.draws.per_visit:
            raise UsageError(
                "a sampled loser is a latent already, of which nothing is drawn at a visit; leave "
                "augmentation out with loser: base."
            )

    @property
    def draws(self) -> Draws:
        """What is drawn of the images, and when."""
        return Draws(posterior=self.posterior, augmentation=self.augmentation)

    def prompts(self) -> PromptSuite:
        """Return the suite.

        Raises:
            UsageError: it is empty, or a prompt is not of the tiny world.
        """
        suite = read_suite(self.suite)
        foreign = [prompt.id for prompt in suite if "meaning" not in prompt.meta]
        if foreign or not len(suite):
            raise UsageError(
                f"suite {suite.name}: the meaning of prompt {foreign[0]} is not known, so it "
                "cannot be rendered; use a suite of bench.tiny.suites."
                if foreign
                else f"suite {suite.name} has no prompts."
            )
        return suite

    def spec(self) -> GenerationSpec | None:
        """Return how losers are sampled."""
        return None if self.generation is None else read_spec(self.generation)


def identity(
    store: Store, checkpoint: CheckpointRef, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the identity of the set; see `bench.data.kinds.PairKind`."""
    found = read_settings(RenderedSettings, settings, "rendered")
    spec = found.spec()
    return {
        "kind": "rendered",
        "version": VERSION,
        "world": [WORLD_VERSION, SCENES_VERSION],
        "checkpoint": checkpoint.identity(store),
        "suite": suite_identity(found.prompts()),
        "loser": found.loser,
        "generation": None if spec is None else spec_identity(spec),
        "posterior": found.posterior,
        "seed": found.seed,
        # sets of clean pictures are called as before there were others
        **({} if found.quality == "clean" else {"quality": found.quality}),
        **found.draws.entry(),
    }


def draws(settings: Mapping[str, Any]) -> Draws:
    """Return what is drawn of the images, and when; see `bench.data.kinds.PairKind`."""
    return read_settings(RenderedSettings, settings, "rendered").draws


def scene_of(prompt: Prompt, seed: int, quality: str = "clean") -> Scene:
    """Return a scene that fits the prompt; a function of its text, the seed and the quality."""
    rng = np.random.default_rng([VERSION, image_seed(prompt.text, 0, seed)])
    return scene_for(meaning_of(prompt), rng, clean=quality == "clean")


def _called(settings: RenderedSettings) -> str:
    own = "" if settings.quality == "clean" else f"-{settings.quality}"
    return f"rendered-{settings.loser}{own}"


def spoilt(scene: Scene, prompt: Prompt, seed: int) -> tuple[Scene, str]:
    """Return the scene with one fault of the quality axis, and the fault's name."""
    rng = Random(f"{seed}\x1ffault\x1f{prompt.text}")
    fault = rng.choice(sorted(_FAULTS))
    strength: dict[str, Any] = {fault: rng.uniform(*_FAULTS[fault])}
    return replace(scene, **strength), fault


def build(
    store: Store,
    checkpoint: CheckpointRef,
    settings: Mapping[str, Any],
    **how: Unpack[How],
) -> Artifact:
    """Return the set, made; see `bench.data.kinds.PairKind`."""
    found = read_settings(RenderedSettings, settings, "rendered")
    suite, spec = found.prompts(), found.spec()
    prompts = tuple(suite)
    where = pick_device(how.get("device"))

    def make(work: Work) -> None:
        from bench.generation.sample import Sampler, default_batch_size

        dtype = "float32" if spec is None else spec.dtype
        backbone = load_pipeline_backbone(checkpoint, store, dtype=dtype, device=where)
        sampler = None if spec is None else Sampler(backbone, spec)
        scenes = [scene_of(prompt, found.seed, found.quality) for prompt in prompts]
        faults = [spoilt(s, p, found.seed) for s, p in zip(scenes, prompts, strict=True)]

        def drawn(some: Sequence[Scene], start: int, side: int) -> dict[str, Tensor]:
            return side_latents(
                backbone,
                [render(scene) for scene in some],
                found.draws,
                side=side,
                start=start,
                seed=found.seed,
                batch=len(some),
            )

        def latents(start: int, end: int) -> dict[str, Tensor]:
            made = drawn(scenes[start:end], start, 0)
            if found.loser == "degraded":
                made |= drawn([scene for scene, _ in faults[start:end]], start, 1)
            elif sampler is not None:
                import torch

                size = how.get("batch_size") or default_batch_size(sampler.spec)
                some = []
                for first in range(start, end, size):
                    texts = [p.text for p in prompts[first : min(end, first + size)]]
                    seeds = [image_seed(text, 0, found.seed) for text in texts]
                    some.append(sampler.latents(sampler.texts.many(texts), seeds))
                made["loser"] = torch.cat(some)
            return made

        rows = [
            StoredRow(
                id=f"{n:06d}",
                prompt=prompt.text,
                prompt_id=prompt.id,
                seed=image_seed(prompt.text, 0, found.seed),
                notes={"fault": faults[n][1]} if found.loser == "degraded" else {},
            )
            for n, prompt in enumerate(prompts)
        ]
        facts = {
            "losers": found.loser,
            "posterior": found.posterior,
            **found.draws.entry(),
        }
        write_set(work, backbone, rows, latents, facts, progress=how.get("progress"))

    return store.build(
        KIND,
        how.get("name") or artifact_name(f"{_called(found)}.{suite.name}.s{found.seed}"),
        identity(store, checkpoint, settings),
        make,
        upstream={"reference": checkpoint.location} if checkpoint.kind == "train" else None,
        seeds={"pairs": found.seed},
        config={"checkpoint": checkpoint.to_json(), "loser": found.loser},
        device=device_name(where),
        exclude=("parts/*",),
    )
