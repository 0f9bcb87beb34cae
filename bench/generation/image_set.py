"""An image set as an artifact: which images it holds, what it is, and how it is read. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.api.errors import CorruptArtifactError, UsageError, did_you_mean
from bench.api.generation import GenerationSpec, ImageRecord, ImageSet, image_seed
from bench.api.prompts import Prompt, PromptSuite
from bench.config import construct
from bench.generation.checkpoint import CheckpointRef
from bench.generation.negative import NONE, parse_negative
from bench.read.names import artifact_name, file_stem
from bench.store import Artifact, Work, read_jsonl, write_jsonl

VERSION = 1
"""Bumped when the images of unchanged settings may change."""

KIND = "images"
SUFFIXES = {"png": "png", "jpeg75": "jpg"}
SUITE_FILE, SETTINGS_FILE, RECORDS_FILE = "suite.json", "generation.json", "records.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageJob:
    """One image to be made: `path` is relative to the set's root."""

    prompt: Prompt
    ordinal: int
    seed: int
    path: str


def image_jobs(
    suite: PromptSuite, images_per_prompt: int, seed: int, file_format: str = "png"
) -> list[ImageJob]:
    """Return the images of a set, in suite order, ordinals inside."""
    suffix = SUFFIXES[file_format]
    return [
        ImageJob(
            prompt=prompt,
            ordinal=ordinal,
            seed=image_seed(prompt.text, ordinal, seed),
            path=f"images/{_file_name(prompt.id, ordinal, suffix)}",
        )
        for prompt, ordinal in suite.images(images_per_prompt)
    ]


def _file_name(prompt_id: str, ordinal: int, suffix: str) -> str:
    """Return the name of an image's file: ids may hold anything, and unlike ids stay unlike."""
    behind = f"-{ordinal}.{suffix}"
    return file_stem(prompt_id, behind=len(behind)) + behind


def suite_identity(suite: PromptSuite) -> dict[str, Any]:
    """Return what of a suite enters an identity."""
    return {"name": suite.name, "version": suite.version, "sha256": suite.sha256}


def image_set_name(checkpoint: CheckpointRef, suite: PromptSuite, seed: int) -> str:
    """Return the name an image set is given where the caller gives none."""
    return artifact_name(f"{checkpoint.label}.{suite.name}.s{seed}")


def image_set_identity(
    checkpoint: Mapping[str, Any],
    suite: PromptSuite,
    spec: GenerationSpec,
    images_per_prompt: int,
    seed: int,
) -> dict[str, Any]:
    """Return the identity of a generated image set; batch, shards and device are not in it.

    Args:
        checkpoint: `CheckpointRef.identity` of what is sampled from.
        suite: the prompts.
        spec: how.
        images_per_prompt: images of each.
        seed: of the noise.

    Raises:
        UsageError: settings are out of range; see `check_spec`.
    """
    return {
        "version": VERSION,
        "checkpoint": checkpoint,
        "suite": suite_identity(suite),
        "spec": spec_identity(spec),
        "images_per_prompt": images_per_prompt,
        "seed": seed,
    }


def spec_identity(spec: GenerationSpec) -> dict[str, Any]:
    """Return what of the settings enters an identity; a scale of 3 is one of 3.0.

    Raises:
        UsageError: settings are out of range; see `check_spec`.
    """
    check_spec(spec)
    return {**spec.identity(), "cfg_scale": float(spec.cfg_scale)}


def check_spec(spec: GenerationSpec) -> None:
    """Make sure that the settings can be kept.

    Raises:
        UsageError: a value is out of range or unknown.
    """
    if spec.file_format not in SUFFIXES:
        near = did_you_mean(spec.file_format, SUFFIXES)
        raise UsageError(f"unknown file_format {spec.file_format!r}.{near}")
    if spec.seed_rule != "per-image":
        raise UsageError(f"unknown seed_rule {spec.seed_rule!r}; expected 'per-image'.")
    if spec.cfg_scale < 1.0:
        raise UsageError(f"cfg_scale is {spec.cfg_scale}; expected 1.0 (no guidance) or more.")
    if spec.negative != NONE:
        parse_negative(spec.negative)
        if spec.negative_prompt or spec.cfg_scale <= 1.0:
            raise UsageError(
                f"negative {spec.negative!r} with negative_prompt {spec.negative_prompt!r} and "
                f"cfg_scale {spec.cfg_scale:g}; expected no negative_prompt beside it, and a "
                "cfg_scale above 1, without which the unconditional branch is not looked at."
            )
    for name in ("steps", "height", "width"):
        if getattr(spec, name) < 1:
            raise UsageError(f"{name} is {getattr(spec, name)}; expected at least 1.")


def write_description(
    work: Work,
    suite: PromptSuite,
    *,
    spec: GenerationSpec | None,
    images_per_prompt: int,
    seed: int,
) -> None:
    """Write the prompts and the settings, so that a reader needs nothing else."""
    work.write_json(SUITE_FILE, suite_json(suite))
    settings = {"images_per_prompt": images_per_prompt, "noise_seed": seed}
    work.write_json(SETTINGS_FILE, {**settings, "spec": spec.identity() if spec else None})


def write_records(work: Work, jobs: Sequence[ImageJob], sha256: Mapping[str, str]) -> None:
    """Write the list of images, the last file of a set.

    Args:
        work: the working folder.
        jobs: its images, in order.
        sha256: of each file, by path.
    """
    records = (
        ImageRecord(
            prompt_id=job.prompt.id,
            ordinal=job.ordinal,
            path=job.path,
            sha256=sha256[job.path],
            seed=job.seed,
        )
        for job in jobs
    )
    write_jsonl(work, RECORDS_FILE, (asdict(record) for record in records))


def suite_json(suite: PromptSuite) -> dict[str, Any]:
    """Return a suite as JSON-able data."""
    data = {"name": suite.name, "version": suite.version, "licence": suite.licence}
    return {**data, "prompts": [prompt.to_json() for prompt in suite]}


def read_suite(data: Mapping[str, Any]) -> PromptSuite:
    """Return the suite whose `suite_json` is `data`."""
    prompts = tuple(Prompt(**prompt) for prompt in data["prompts"])
    return PromptSuite(
        name=data["name"], version=data["version"], licence=data["licence"], prompts=prompts
    )


def read_spec(data: Mapping[str, Any]) -> GenerationSpec:
    """Return the settings whose `identity()` is `data`.

    Raises:
        UsageError: a key is unknown.
    """
    return construct(GenerationSpec, data, "generation settings")


def open_image_set(artifact: Artifact, *, verify: bool = True) -> ImageSet:
    """Return the complete image set an artifact holds.

    Args:
        artifact: of kind `"images"`.
        verify: hash every image; otherwise only their presence is looked at.

    Raises:
        IncompleteError: images are missing, naming them.
        CorruptArtifactError: a file was changed, or the prompts are not those of the identity.
        UsageError: the artifact is of another kind.
    """
    if artifact.kind != KIND:
        raise UsageError(f"{artifact.id} is of kind {artifact.kind!r}; expected {KIND!r}.")
    suite = read_suite(artifact.read_json(SUITE_FILE))
    expected = artifact.identity["suite"]["sha256"]
    if suite.sha256 != expected:
        raise CorruptArtifactError(
            f"{artifact.path}: its prompts have sha256 {suite.sha256[:12]}, its identity says "
            f"{expected[:12]}.\n  to mend it: remove the folder and run the same command again",
            artifact_path=artifact.path,
        )
    settings = artifact.read_json(SETTINGS_FILE)
    images = ImageSet(
        root=artifact.path,
        suite=suite,
        images_per_prompt=int(settings["images_per_prompt"]),
        records=tuple(ImageRecord(**row) for row in read_jsonl(artifact.file(RECORDS_FILE))),
        spec=None if settings["spec"] is None else read_spec(settings["spec"]),
        identity=str(artifact.manifest["identity_sha256"]),
    )
    images.require_complete()
    if verify:
        for record in images.records:
            artifact.file(record.path)
    return images
