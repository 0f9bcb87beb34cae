"""Image sets: sampled from a checkpoint, or rendered scenes of known truth."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api.generation import GenerationSpec
from bench.api.loading import import_target
from bench.api.prompts import PromptSuite
from bench.generation.checkpoint import CheckpointRef, pick_device
from bench.generation.image_set import image_set_identity
from bench.read.names import artifact_name
from bench.spec.protocol import ColumnProtocol, StoredName, load_suite
from bench.steps.builder import GraphBuilder, NotExpressibleError
from bench.steps.cost import cost_of
from bench.steps.step import DivisibleStep, Runtime, Step
from bench.store import Artifact, Foreign, Store, foreign_part
from bench.store.processor import has_bfloat16

LOG = logging.getLogger("bench.steps")


@dataclass(frozen=True, kw_only=True)
class ImageStep(DivisibleStep):
    """Images to be sampled from a checkpoint.

    Attributes:
        checkpoint: what is sampled from.
        suite: the prompts.
        spec: how.
        images_per_prompt: images of each.
        noise_seed: of the sampling.
        training_seed: that the checkpoint was trained with; None where nobody trained it here.
    """

    kind: str = "images"
    checkpoint: CheckpointRef
    suite: PromptSuite
    spec: GenerationSpec
    images_per_prompt: int
    noise_seed: int
    training_seed: int | None = None

    @property
    def images(self) -> int:
        """Number of images."""
        return self.suite.count(self.images_per_prompt)

    def batches(self, runtime: Runtime) -> int:
        """Return the number of batches that are sampled."""
        return math.ceil(self.images / runtime.generation_batch)

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Sample; see `bench.generation.generate_image_set` for what is raised."""
        from bench.generation.generate import generate_image_set

        if (
            self.spec.dtype == "bfloat16"
            and not has_bfloat16()
            and pick_device(runtime.device) == "cpu"
        ):
            LOG.warning(
                "%s: this processor has no instructions for bfloat16, in which sampling is slower "
                "here than in float32",
                self.label,
            )
        return generate_image_set(
            store,
            self.checkpoint,
            self.suite,
            self.spec,
            self.images_per_prompt,
            self.noise_seed,
            name=self.whole,
            shards=self.shards,
            shard=self.shard,
            batch_size=runtime.generation_batch,
            device=runtime.device,
            progress=runtime.progress,
        )


@dataclass(frozen=True, kw_only=True)
class RenderStep(Step):
    """True scenes of prompts to be rendered.

    Attributes:
        renderer: module with `render_image_set`, `image_set_name`, `image_set_identity`.
        suite: the prompts, each with its meaning.
        images_per_prompt: images of each.
        noise_seed: of the scenes.
        quality: what is rendered where a prompt leaves it open.
        through_vae: the checkpoint whose autoencoder the renders go through, or None.
    """

    kind: str = "images"
    renderer: str
    suite: PromptSuite
    images_per_prompt: int
    noise_seed: int
    quality: str
    through_vae: CheckpointRef | None = None

    @property
    def images(self) -> int:
        """Number of images."""
        return self.suite.count(self.images_per_prompt)

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Render."""
        module, _ = renderer_of(self.renderer)
        mark = {"code": self.identity["code"]} if "code" in self.identity else {}
        artifact: Artifact = module.render_image_set(
            store.marked(mark),
            self.suite,
            self.images_per_prompt,
            seed=self.noise_seed,
            quality=self.quality,
            through_vae=self.through_vae,
            name=self.name,
            device=runtime.device,
            progress=runtime.progress,
        )
        return artifact


def renderer_of(name: str) -> tuple[Any, Foreign]:
    """Return a renderer's module, and its code where it is a third party's.

    Raises:
        UsageError: there is no such module, or it renders nothing.
        ContractError: it cannot be imported, or its source cannot be found.
    """
    target = f"{name}:render_image_set"
    import_target(target, kind="renderer")
    return sys.modules[name], foreign_part(target)


def add_images(
    builder: GraphBuilder,
    checkpoint: CheckpointRef,
    *,
    protocol: ColumnProtocol,
    suite: PromptSuite,
    noise_seed: int,
    training_seed: int | None = None,
) -> str:
    """Add images sampled from a checkpoint and return their step's id.

    The set is named after what makes its images, so that all who ask for them share it.

    Args:
        builder: of the graph.
        checkpoint: what is sampled from; that of a training in the graph waits for it.
        protocol: how.
        suite: the prompts.
        noise_seed: of the sampling.
        training_seed: that the checkpoint was trained with; None where nobody trained it here.

    Raises:
        UsageError: settings are out of range.
    """
    profile, spec, each = builder.profile, protocol.generation, protocol.images_per_prompt
    trained = checkpoint.kind == "train" and checkpoint.location in builder.graph
    count = suite.count(each)
    name = artifact_name(f"{checkpoint.label}.{suite.name}.{len(suite)}x{each}.s{noise_seed}")
    identity: Mapping[str, Any]
    sources, weights = builder.loaded(checkpoint)
    if weights:
        content = builder.identity(checkpoint)
        identity = image_set_identity(content, suite, spec, each, noise_seed)
    else:
        identity = {"checkpoint": None, "of": name, "spec": spec.identity()}
    step = ImageStep(
        name=name,
        identity=identity,
        upstream={"checkpoint": checkpoint.location} if trained else {},
        sources=sources,
        weights=weights,
        checkpoint=checkpoint,
        suite=suite,
        spec=spec,
        images_per_prompt=each,
        noise_seed=noise_seed,
        training_seed=training_seed,
        label=f"{count} images of {checkpoint.label}, {suite.name}, CFG {spec.cfg_scale:g}"
        + (f", noise seed {noise_seed}" if noise_seed != profile.sampling_seed else ""),
        seconds=3.0 + cost_of(profile).images(count, spec),
        bytes=count * profile.speed.image_bytes,
    )
    return builder.graph.add(step)


def add_reference(builder: GraphBuilder, protocol: ColumnProtocol) -> str:
    """Add the reference images of a distribution metric and return their step's id.

    They are never cut by `--limit`: a reference of fewer images is another reference.

    Raises:
        NotExpressibleError: the profile cannot render.
    """
    reference = protocol.reference
    if reference is None:
        raise NotExpressibleError("its protocol names no reference images")
    if isinstance(reference, StoredName):
        raise NotExpressibleError(f"its reference, {reference.name}, is stored statistics alone")
    prompts = load_suite(reference.suite or protocol.suite, None)
    each, quality = reference.images_per_prompt, reference.quality
    return add_renders(builder, prompts, each, seed=reference.seed, quality=quality)


def add_renders(
    builder: GraphBuilder,
    suite: PromptSuite,
    images_per_prompt: int,
    *,
    seed: int,
    quality: str,
    through_vae: CheckpointRef | None = None,
) -> str:
    """Add rendered scenes and return their step's id; arguments as the fields of `RenderStep`.

    Raises:
        NotExpressibleError: the profile cannot render, or the prompts have no known truth.
    """
    profile = builder.profile
    if profile.renderer is None:
        raise NotExpressibleError(
            f"profile {profile.name} has no renderer: its prompts have no known truth"
        )
    if any("meaning" not in prompt.meta for prompt in suite):
        raise NotExpressibleError(f"the prompts of {suite.name} have no known truth to render")
    module, part = renderer_of(profile.renderer)
    options: dict[str, Any] = {"seed": seed, "quality": quality, "through_vae": through_vae}
    count = suite.count(images_per_prompt)
    title = module.image_set_name(suite, seed, quality, through_vae)
    name = f"{title}.{len(suite)}x{images_per_prompt}"
    sources, weights = builder.loaded(through_vae)
    if through_vae is None or weights:
        own = module.image_set_identity(builder.store, suite, images_per_prompt, **options)
        identity = {**own, **part.identity}
    else:
        identity = {"through_vae": None, "of": name}
    step = RenderStep(
        name=artifact_name(name),
        identity=identity,
        sources=(*part.sources, *sources),
        weights=weights,
        renderer=profile.renderer,
        suite=suite,
        images_per_prompt=images_per_prompt,
        noise_seed=seed,
        quality=quality,
        through_vae=through_vae,
        label=f"{count} renders of {suite.name}" + (" through the VAE" if through_vae else ""),
        seconds=1.0 + 0.003 * count,
        bytes=count * profile.speed.image_bytes,
    )
    return builder.graph.add(step)
