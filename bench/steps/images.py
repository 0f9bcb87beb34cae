"""The upper half of the graph: a checkpoint, the base or one that was trained -> image sets."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from bench.api.errors import PrerequisiteError
from bench.api.prompts import PromptSuite
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import image_set_identity, suite_json
from bench.spec.protocol import ColumnProtocol, StoredName, load_suite, read_generation
from bench.spec.table import RowSpec
from bench.steps.builder import ImageSource as ImageSource
from bench.steps.builder import NotExpressibleError as NotExpressibleError
from bench.steps.builder import NotRunError
from bench.steps.graph import Node
from bench.steps.hub_models import hub_id
from bench.steps.initial import weights_checkpoint
from bench.steps.training import trained_checkpoint


def image_node(
    source: ImageSource,
    row: RowSpec,
    training_seed: int | None,
    noise_seed: int,
    protocol: ColumnProtocol,
    suite: PromptSuite,
) -> str:
    """Add a row's images of a suite and return their node's id.

    Raises:
        NotExpressibleError: the profile cannot make such images, or weights of others that the
            row needs are not on this machine.
        UsageError: settings do not fit together.
    """
    if row.sampling:
        changed = {**asdict(protocol.generation), **row.sampling}
        own = read_generation(changed, f"row {row.key}: sampling")
        protocol = replace(protocol, generation=own)
    if row.render is not None:
        through = source.base() if row.render == "through-vae" else None
        return _render(
            source,
            suite,
            protocol.images_per_prompt,
            seed=noise_seed,
            quality=protocol.render_quality,
            through_vae=through,
        )
    checkpoint, origin = source.base(), "base"
    _require_same_world(source, row)
    try:
        if row.weights is not None:
            checkpoint = weights_checkpoint(source, row.weights, f"row {row.key}: weights")
            origin = row.key
        elif row.trained:
            checkpoint = trained_checkpoint(source, row, training_seed or 0)
            origin = f"{row.key}.t{training_seed}"
        elif row.sampling:
            origin = row.key
    except PrerequisiteError as error:
        raise NotRunError("not run: " + " ".join(str(error).split())) from error
    return sampled_node(
        source,
        checkpoint,
        origin=origin,
        protocol=protocol,
        suite=suite,
        seed=noise_seed,
        training_seed=training_seed,
    )


def _require_same_world(source: ImageSource, row: RowSpec) -> None:
    """Raise NotRunError where a row needs weights of the hub and the base is a shipped one."""
    profile = source.profile
    if profile.checkpoint.kind != "shipped":
        return
    for name in _weights_of(source, row, ()):
        raise NotRunError(
            f"not run: {name} is for the paper's model; the base of profile {profile.name} is "
            f"{profile.checkpoint.location}"
        )


def _weights_of(source: ImageSource, row: RowSpec, above: tuple[str, ...]) -> Iterator[str]:
    """Yield the hub's weights that a row is, or starts from, perhaps by way of other rows."""
    before = source.rows.get(row.start) if row.start is not None else None
    if before is not None and before.key not in above:
        yield from _weights_of(source, before, (*above, row.key))
    yield from (name for name in (row.weights, row.start) if name is not None and hub_id(name))


def sampled_node(
    source: ImageSource,
    checkpoint: CheckpointRef,
    *,
    origin: str,
    protocol: ColumnProtocol,
    suite: PromptSuite,
    seed: int,
    training_seed: int | None = None,
) -> str:
    """Add images sampled from a checkpoint and return their node's id.

    Args:
        source: where nodes go.
        checkpoint: what is sampled from; that of a training in the graph waits for it.
        origin: what the checkpoint is called in the names of artifacts.
        protocol: how.
        suite: the prompts.
        seed: of the noise.
        training_seed: that the checkpoint was trained with; None where nobody trained it here.

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
    if source.known(source.base() if checkpoint.kind == "train" else checkpoint):
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
            "training_seed": training_seed,
            "noise_seed": seed,
            "images": count,
        },
        function="bench.steps.making:make_images",
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
    if isinstance(reference, StoredName):
        raise NotExpressibleError(f"its reference, {reference.name}, is stored statistics alone")
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
            "noise_seed": seed,
            "quality": quality,
            "through_vae": None if through_vae is None else through_vae.to_json(),
            "images": count,
        },
        function="bench.steps.making:make_renders",
        label=f"{count} renders of {suite.name}" + (" through the VAE" if through_vae else ""),
        seconds=1.0 + 0.003 * count,
        bytes=count * profile.speed.image_bytes,
    )
    return source.graph.add(node)
