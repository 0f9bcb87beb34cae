"""The images of a table's row: of the base, a training, published weights, or renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.prompts import PromptSuite
from bench.generation.checkpoint import CheckpointRef
from bench.spec.head import ProfileHead
from bench.spec.noise import PER_SEED, SHARED
from bench.spec.protocol import ColumnProtocol, read_generation
from bench.spec.table import RowSpec
from bench.steps.builder import GraphBuilder, NotExpressibleError, NotRunError
from bench.steps.hub_models import weights_behind
from bench.steps.images import add_images, add_renders
from bench.steps.initial import weights_checkpoint
from bench.steps.training import trained_checkpoint

_APART = 1_000
"""Between the noises of rows that have a sampling seed of their own, with noise per seed."""


def add_row_images(
    builder: GraphBuilder,
    row: RowSpec,
    training_seed: int | None,
    noise_seed: int,
    protocol: ColumnProtocol,
    suite: PromptSuite,
) -> str:
    """Add a row's images of a suite and return their step's id.

    Args:
        builder: of the graph.
        row: whose images.
        training_seed: None where nothing is trained.
        noise_seed: of the sampling, or of the renders.
        protocol: how they are made.
        suite: the prompts.

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
        return add_renders(
            builder,
            suite,
            protocol.images_per_prompt,
            seed=noise_seed,
            quality=protocol.render_quality,
            through_vae=builder.base() if row.render == "through-vae" else None,
        )
    try:
        checkpoint = _checkpoint(builder, row, training_seed)
    except PrerequisiteError as error:
        raise NotRunError("not run: " + " ".join(str(error).split())) from error
    return add_images(
        builder,
        checkpoint,
        protocol=protocol,
        suite=suite,
        noise_seed=noise_seed,
        training_seed=training_seed,
    )


def _checkpoint(builder: GraphBuilder, row: RowSpec, seed: int | None) -> CheckpointRef:
    shipped = builder.profile.checkpoint.kind == "shipped"
    for name in weights_behind(row, builder.rows) if shipped else ():
        raise NotRunError(
            f"not run: {name} is for the paper's model; the base of profile "
            f"{builder.profile.name} is {builder.profile.checkpoint.location}"
        )
    entries = builder.profile.training.methods
    if row.settings is not None and row.settings not in entries:
        # a control may have a meaning in some profiles alone
        raise NotExpressibleError(
            f"profile {builder.profile.name} has no settings {row.settings!r} to train it by"
        )
    if row.weights is not None:
        return weights_checkpoint(builder, row.weights, f"row {row.key}: weights")
    if row.trained:
        return trained_checkpoint(builder, row, seed or 0)
    return builder.base()


def cell_seeds(
    row: RowSpec, profile: ProfileHead, seeds: Sequence[int]
) -> list[tuple[int | None, int]]:
    """Return the (training seed, noise seed) of a row's cells of one column.

    Args:
        row: trained, or not: then its training seed is None and there is a cell for each noise.
        profile: says how noise goes with training seeds.
        seeds: training seeds of the table; a row that says how many takes the first of them.

    Raises:
        UsageError: a training seed is too large for noise of its own, or a row that says that its
            noise is another has that of all rows.
    """
    own, seeds = row.sampling_seed, seeds[: row.seeds]
    if own is not None and own == (profile.sampling_seed if profile.noise == SHARED else 0):
        raise UsageError(
            f"row {row.key!r} says sampling_seed: {own}, noise that no other row has, and with "
            f"sampling_seed {profile.sampling_seed} and noise {profile.noise} all rows are sampled "
            "from it: the row would be equal to the one it is compared with. Choose another."
        )
    if profile.noise == SHARED:
        noise = profile.sampling_seed if own is None else own
        return [(s, noise) for s in seeds] if row.trained else [(None, noise)]
    if max(seeds) >= _APART:
        raise UsageError(
            f"training seed {max(seeds)} with noise: {PER_SEED}; expected seeds below {_APART}, "
            "beyond which the noises of other rows begin."
        )
    # a sampling seed of its own stands for noise that no other row has
    offset = profile.sampling_seed + (0 if own is None else own * _APART)
    return [(s if row.trained else None, offset + s) for s in seeds]
