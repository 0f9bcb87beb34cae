"""One image set by itself: sampled from a checkpoint, by a table column's protocol."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.generation import ImageSet
from bench.api.prompts import PromptSuite
from bench.api.registry import DEFAULT_PROFILE, EVALUATORS
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import open_image_set
from bench.harness.parts import Setting, finish
from bench.harness.repairs import with_repairs
from bench.harness.training import Training
from bench.harness.work import Work, WorkOptions
from bench.read.markup import say_markup
from bench.read.pictures import read_picture
from bench.spec.protocol import load_suite
from bench.spec.table import load_table
from bench.steps.images import add_images
from bench.steps.initial import weights_checkpoint
from bench.store import Artifact
from bench.store.remarks import remarks_of
from bench.suites.files import captions, captions_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.spec.profile import Profile
    from bench.spec.protocol import ColumnProtocol
    from bench.steps.builder import GraphBuilder


LOG = logging.getLogger("bench.harness")


@dataclass(frozen=True, kw_only=True)
class Images:
    """What `generate` returns.

    Attributes:
        artifact: as it is stored.
    """

    artifact: Artifact

    @property
    def id(self) -> str:
        """`images/NAME-HASH`, which `score` takes."""
        return self.artifact.id

    @cached_property
    def image_set(self) -> ImageSet:
        """Prompts and records; every file is there and whole."""
        return open_image_set(self.artifact)

    @property
    def files(self) -> Mapping[tuple[str, int], Path]:
        """The file of each image by prompt id and ordinal, in the order of the prompts."""
        found = self.image_set
        return {(r.prompt_id, r.ordinal): found.root / r.path for r in found.records}

    def __len__(self) -> int:
        return len(self.image_set.records)

    def picture(self, prompt_id: str | None = None, ordinal: int = 0) -> Image:
        """Return one image; the first prompt's by default.

        Raises:
            UsageError: there is no such image.
        """
        files = self.files
        key = (prompt_id or next(iter(files))[0], ordinal)
        if key not in files:
            raise UsageError(f"{self.id} has no image {key[0]}/{key[1]}.")
        return read_picture(files[key]).image

    def write_folder(self, folder: Path | str, evaluator: str) -> None:
        """Write the images as the scripts of an evaluator's authors read them.

        Raises:
            UsageError: the evaluator has no such folder, or the prompts have no place in it.
            StoreError: the folder cannot be written.
        """
        EVALUATORS.load(evaluator)().write_folder(self.image_set, Path(folder))

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.picture().save(buffer, format="PNG")
        return buffer.getvalue()


def generate(
    checkpoint: str | Path | Training | None = None,
    profile: str = DEFAULT_PROFILE,
    *,
    table: str = "1a",
    column: str = "GE",
    prompts: Path | Sequence[str] | None = None,
    limit: int | None = None,
    images_per_prompt: int | None = None,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
    **how: Unpack[WorkOptions],
) -> Images:
    """Sample images from a checkpoint; those that are there are not sampled again.

    Args:
        checkpoint: a shipped name, a folder, a LoRA's file or folder, a hub id, `train/...`, or
            what `train` returned; the profile's base by default.
        profile: a shipped name, or the path of a YAML file.
        table, column: whose protocol.
        prompts: a file of prompts (`bench.suites.files`), or prompts, in place of the column's.
        limit: about so many prompts, stratified by task.
        images_per_prompt: in place of the protocol's.
        seed: of the noise, in place of the profile's.
        overrides: changes to the profile, `"generation.steps=20"`.
        protocol: in place of the profile's own.
        trust: whether YAML files may name code that nobody registered.
        store: the folder artifacts lie in.
        how: jobs, gpus, device, executor, ray_address, on_event, as in `bench.harness.run`.

    Raises:
        UsageError: something is unknown, or nothing reads one of `overrides`.
        PrerequisiteError: the checkpoint or the prompts are missing.
        FailedError: sampling failed.
    """
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )
    work = Work(**how)

    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}; expected at least 1 prompt.")
    if seed is not None and seed < 0:
        raise UsageError(f"--seed {seed}; expected a number from 0.")
    own = None if prompts is None else _suite(prompts, limit)

    def build(builder: GraphBuilder) -> str:
        how = _protocol(builder.profile, table, column, trust=trust)
        if images_per_prompt is not None:
            how = replace(how, images_per_prompt=images_per_prompt)
        suite = load_suite(how.suite, limit) if own is None else own
        say_markup([how.generation.negative_prompt], "the negative prompt")
        return add_images(
            builder,
            _checkpoint(builder, checkpoint),
            protocol=how,
            suite=suite,
            noise_seed=builder.profile.sampling_seed if seed is None else seed,
        )

    def action() -> Images:
        builder, key = setting.built(build)
        step = builder.graph[key]
        before = builder.store.find(step.kind, step.name, step.identity)
        for said in [] if before is None else remarks_of(before):
            LOG.warning("%s", said)  # else who samples them says it
        return Images(artifact=finish(builder, key, work))

    return with_repairs(action)


def _checkpoint(builder: GraphBuilder, checkpoint: str | Path | Training | None) -> CheckpointRef:
    base = builder.base()
    if checkpoint is None:
        return base
    name = checkpoint.id if isinstance(checkpoint, Training) else str(checkpoint)
    found = CheckpointRef.parse(name)
    if found.kind == "path" or (found.kind == "hub" and _is_here(found)):
        return weights_checkpoint(builder, name, "--checkpoint")  # a LoRA goes onto the base
    if found.kind != "train":
        return found
    builder.store.get(found.location)
    return replace(found, base=base)


def _is_here(ref: CheckpointRef) -> bool:
    try:
        ref.weights()
    except PrerequisiteError:
        return False
    return True


def _protocol(profile: Profile, table: str, column: str, *, trust: bool) -> ColumnProtocol:
    spec = load_table(table, trust=trust)
    if spec.world is not None:
        raise UsageError(f"table {spec.name} has no images: it is of {spec.world}.")
    found = profile.protocol_of(spec, spec.column(column))
    if found is None:
        raise UsageError(
            f"profile {profile.name} has no protocol {profile.protocol!r} for column {column}."
        )
    return found


def _suite(prompts: Path | Sequence[str], limit: int | None) -> PromptSuite:
    if isinstance(prompts, str | Path):
        path = Path(prompts)
        suite = captions(file=str(path), name=path.stem)
    else:
        suite = captions_of(prompts, name="prompts")
    return suite if limit is None else suite.limited(limit)
