"""The upper half of the graph: base checkpoint -> pairs -> training -> image sets."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import BenchError, PrerequisiteError
from bench.api.prompts import PromptSuite
from bench.data.spec import PairSpec, pair_set_identity
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import image_set_identity, suite_json
from bench.store import Store, code_identity
from bench.tables.nodes import Graph, Node
from bench.tables.plugins import portable, training_settings
from bench.tables.profile import Profile
from bench.tables.protocol import ColumnProtocol, SuiteSpec, load_suite
from bench.tables.spec import RowSpec

TRAINING_VERSION = 1
"""Bumped when the training of unchanged settings may end in other weights."""

_SHUFFLE_SEED = 1


class NotExpressibleError(BenchError):
    """The profile has nothing this cell could be measured with: it is `n/a`, not a failure."""


@dataclass(kw_only=True)
class ImageSource:
    """Adds nodes that end in image sets.

    Attributes:
        profile: see `bench.tables.profile`.
        store: where hashes of checkpoints are remembered.
        graph: where nodes go.
        missing: prerequisites that were not there, by what they are for. Nodes made from them
            carry a placeholder in their identity: the graph can be shown, not run.
    """

    profile: Profile
    store: Store
    graph: Graph
    missing: dict[str, PrerequisiteError] = field(default_factory=dict)

    def base(self) -> CheckpointRef:
        """Return the profile's checkpoint."""
        spec = self.profile.checkpoint
        return CheckpointRef(kind=spec.kind, location=spec.location, revision=spec.revision)

    def known(self, checkpoint: CheckpointRef) -> bool:
        """Whether the checkpoint is on this machine; remembers what is missing otherwise."""
        try:
            checkpoint.identity(self.store)
        except PrerequisiteError as error:
            self.missing.setdefault(checkpoint.location, error)
            return False
        return True


def image_node(
    source: ImageSource,
    row: RowSpec,
    seed: int | None,
    protocol: ColumnProtocol,
    suite: PromptSuite,
) -> str:
    """Add a row's images of a suite and return their node's id.

    Raises:
        NotExpressibleError: the profile cannot make such images.
        UsageError: settings do not fit together.
    """
    profile = source.profile
    sampling = profile.sampling_seed if row.sampling_seed is None else row.sampling_seed
    if row.render is not None:
        through = source.base() if row.render == "through-vae" else None
        return _render(
            source,
            suite,
            protocol.images_per_prompt,
            seed=sampling,
            quality=protocol.render_quality,
            through_vae=through,
        )
    if not row.trained:
        checkpoint, origin = source.base(), "base"
    else:
        training = training_node(source, row, 0 if seed is None else seed)
        checkpoint = CheckpointRef(kind="train", location=training, base=source.base())
        origin = f"{row.key}.t{seed}"
    return sampled_node(
        source, checkpoint, origin=origin, protocol=protocol, suite=suite, seed=sampling
    )


def sampled_node(
    source: ImageSource,
    checkpoint: CheckpointRef,
    *,
    origin: str,
    protocol: ColumnProtocol,
    suite: PromptSuite,
    seed: int,
) -> str:
    """Add images sampled from a checkpoint and return their node's id.

    Args:
        source: where nodes go.
        checkpoint: what is sampled from; that of a training in the graph waits for it.
        origin: what the checkpoint is called in the names of artifacts.
        protocol: how.
        suite: the prompts.
        seed: of the sampling.

    Raises:
        UsageError: settings are out of range.
    """
    profile = source.profile
    trained = checkpoint.kind == "train" and checkpoint.location in source.graph
    count = len(suite) * protocol.images_per_prompt
    spec = protocol.generation
    forwards = spec.steps * (2 if spec.cfg_scale != 1.0 else 1)
    size = f"{len(suite)}x{protocol.images_per_prompt}"
    name = f"{profile.stem}.{origin}.{suite.name}.{size}.s{seed}"[:120]
    identity: Mapping[str, Any]
    if source.known(checkpoint if checkpoint.base is None else checkpoint.base):
        identity = image_set_identity(
            source.store, checkpoint, suite, spec, protocol.images_per_prompt, seed
        )
    else:
        identity = {"checkpoint": None, "of": name, "spec": spec.identity()}
    node = Node(
        kind="images",
        name=name,
        identity=identity,
        upstream={"checkpoint": checkpoint.location} if trained else {},
        payload={
            "checkpoint": checkpoint.to_json(),
            "suite": suite_json(suite),
            "spec": spec.identity(),
            "images_per_prompt": protocol.images_per_prompt,
            "seed": seed,
            "images": count,
        },
        function="bench.tables.making:make_images",
        label=f"{count} images of {origin}, {suite.name}"
        + (f", sampling seed {seed}" if seed != profile.sampling_seed else ""),
        seconds=3.0 + count * forwards * profile.speed.image_step_seconds,
        bytes=count * profile.speed.image_bytes,
    )
    return source.graph.add(node)


def reference_node(source: ImageSource, protocol: ColumnProtocol) -> str:
    """Add the reference images of a distribution metric and return their node's id.

    They are never cut by `--limit`: a reference of fewer images is another reference.

    Raises:
        NotExpressibleError: the profile cannot render.
    """
    reference = protocol.reference
    if reference is None:
        raise NotExpressibleError("its protocol names no reference images")
    prompts = load_suite(reference.suite or protocol.suite, None)
    return _render(
        source, prompts, reference.images_per_prompt, seed=reference.seed, quality=reference.quality
    )


def _render(
    source: ImageSource,
    suite: PromptSuite,
    images_per_prompt: int,
    *,
    seed: int,
    quality: str,
    through_vae: CheckpointRef | None = None,
) -> str:
    profile = source.profile
    if profile.renderer is None:
        raise NotExpressibleError(
            f"profile {profile.name} has no renderer: its prompts have no known truth"
        )
    if any("meaning" not in prompt.meta for prompt in suite):
        raise NotExpressibleError(f"the prompts of {suite.name} have no known truth to render")
    module = importlib.import_module(profile.renderer)
    options: dict[str, Any] = {"seed": seed, "quality": quality, "through_vae": through_vae}
    count = len(suite) * images_per_prompt
    title = module.image_set_name(suite, seed, quality, through_vae)
    name = f"{title}.{len(suite)}x{images_per_prompt}"
    if through_vae is None or source.known(through_vae):
        identity = module.image_set_identity(source.store, suite, images_per_prompt, **options)
    else:
        identity = {"through_vae": None, "of": name}
    node = Node(
        kind="images",
        name=name[:120],
        identity=identity,
        payload={
            "renderer": profile.renderer,
            "suite": suite_json(suite),
            "images_per_prompt": images_per_prompt,
            "seed": seed,
            "quality": quality,
            "through_vae": None if through_vae is None else through_vae.to_json(),
            "images": count,
        },
        function="bench.tables.making:make_renders",
        label=f"{count} renders of {suite.name}" + (" through the VAE" if through_vae else ""),
        seconds=1.0 + 0.003 * count,
        bytes=count * profile.speed.image_bytes,
    )
    return source.graph.add(node)


def training_node(source: ImageSource, row: RowSpec, seed: int) -> str:
    """Add the training of a row's method with a seed and return its node's id.

    Raises:
        UsageError: unknown settings.
        ContractError: the method does not fulfil its contract.
    """
    profile = source.profile
    target = str(row.method)
    cls, method, config = training_settings(profile, target, seed)
    pairs = pairs_node(source)
    controls: dict[str, dict[str, Any]] = {
        "standard": {},
        "identity-degraded": {"identity_degraded": True},
        "shuffled": {"shuffle_seed": _SHUFFLE_SEED},
    }
    control = controls[row.pairs]
    node = Node(
        kind="train",
        name=f"{profile.stem}.{row.key}.t{seed}"[:120],
        identity={
            "version": TRAINING_VERSION,
            "method": {**code_identity(cls), "config": method.config()},
            "train": config.identity(),
            "control": control,
            "pairs": pairs,
        },
        upstream={"pairs": pairs},
        payload={
            "method": portable(target),
            "settings": method.config(),
            "train": config.to_json(),
            "control": control,
            "checkpoint": source.base().to_json(),
        },
        function="bench.tables.making:make_training",
        label=f"train {row.key}, seed {seed}",
        seconds=5.0 + config.steps * config.batch * profile.speed.pair_seconds,
        bytes=profile.speed.checkpoint_bytes,
    )
    return source.graph.add(node)


def pairs_node(source: ImageSource) -> str:
    """Add the pair set and return its node's id.

    Raises:
        UsageError: a setting is unknown.
    """
    profile = source.profile
    settings = profile.pairs
    spec = PairSpec(
        generation=settings.generation,
        min_words=settings.min_words,
        perturbation=settings.perturbation,
        seed=settings.seed,
    )
    name = f"{profile.stem}.pairs"
    suite = _pair_suite(source, settings.suite)
    if suite is not None and source.known(source.base()):
        identity = pair_set_identity(source.store, source.base(), suite, spec)
    else:
        identity = {"reference": None, "of": name, "spec": spec.identity()}
    count = 0 if suite is None else len(suite)
    forwards = spec.generation.steps * (2 if spec.generation.cfg_scale != 1.0 else 1)
    node = Node(
        kind="pairs",
        name=name,
        identity=identity,
        payload={
            "checkpoint": source.base().to_json(),
            "suite": None if suite is None else suite_json(suite),
            "generation": spec.generation.identity(),
            "min_words": spec.min_words,
            "perturbation": spec.perturbation,
            "seed": spec.seed,
        },
        function="bench.tables.making:make_pairs",
        label=f"{count} preference pairs",
        seconds=5.0 + 2 * count * forwards * profile.speed.image_step_seconds,
        bytes=count * profile.speed.pair_bytes,
    )
    return source.graph.add(node)


def _pair_suite(source: ImageSource, spec: SuiteSpec) -> PromptSuite | None:
    try:
        return load_suite(spec, None)
    except PrerequisiteError as error:
        source.missing.setdefault("pairs", error)
        return None
