"""Which checkpoint images are sampled from: named, hashed, loaded. No torch until it is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import read
from bench.generation.parts import Found, adapter_of, find_weights
from bench.generation.weights import content_hash, hub_snapshot
from bench.store import Artifact, Source, Store
from bench.tiny.assets import path_of, weights_sha256

if TYPE_CHECKING:
    from bench.backbones.base import Backbone

KINDS = ("shipped", "path", "hub", "train")
_EXPORT = re.compile(r"exports/(step-(\d+)(-ema)?)/")
SAFETENSORS = ".safetensors"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRef:
    """A checkpoint by name.

    Attributes:
        kind: `"shipped"` with the project, a `"path"` to a pipeline's folder, a repository on the
            `"hub"`, or the result of a `"train"` artifact.
        location: asset name, folder, hub id, or artifact id.
        revision: branch, tag or commit of a hub repository; None is the default branch.
        step: which export of a training; None is the last.
        base: what a training started from, or what weights that are no whole pipeline (a network,
            a LoRA) are put into: its text encoder and VAE are used.

    Raises:
        UsageError: the kind is unknown, or a field does not belong to it.
    """

    kind: str
    location: str
    revision: str | None = None
    step: int | None = None
    base: CheckpointRef | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"unknown kind of checkpoint {self.kind!r}.{did_you_mean(self.kind, KINDS)}"
            )
        misplaced = {
            "revision": self.revision is not None and self.kind != "hub",
            "step": self.step is not None and self.kind != "train",
            "base": self.base is not None and self.kind == "shipped",
        }
        for name, wrong in misplaced.items():
            if wrong:
                raise UsageError(f"a checkpoint of kind {self.kind!r} has no {name}; leave it out.")

    @classmethod
    def parse(cls, text: str, *, base: CheckpointRef | None = None) -> CheckpointRef:
        """Read what a user typed: `tiny-sd`, `./folder`, `lora.safetensors`,
        `owner/name[@revision]`, `train/...`.

        Raises:
            UsageError: it is none of them.
        """
        if text.startswith("train/"):
            return cls(kind="train", location=text, base=base)
        if "/" not in text and not text.startswith((".", "~")) and not text.endswith(SAFETENSORS):
            return cls(kind="shipped", location=text)
        here = Path(text).expanduser()
        if text.startswith((".", "/", "~")) or here.exists() or here.suffix == SAFETENSORS:
            return cls(kind="path", location=str(here))
        if not _HUB_ID.fullmatch(text):
            raise UsageError(
                f"{text!r} names no checkpoint; expected a shipped one such as tiny-sd, a folder "
                "such as ./model, a hub id owner/name or owner/name@revision, or train/..."
            )
        repository, _, revision = text.partition("@")
        return cls(kind="hub", location=repository, revision=revision or None)

    @property
    def label(self) -> str:
        """A short name that may be part of a folder's."""
        last = self.location.rstrip("/").rpartition("/")[2]
        if self.kind == "train":
            last = last.rpartition("-")[0] or last
            last = last if self.step is None else f"{last}-step{self.step}"
        clean = re.sub(r"[^A-Za-z0-9._+=-]+", "-", last).strip("-._+=")
        return clean[:60] or self.kind

    def folder(self) -> Path:
        """Return the pipeline's folder of a shipped, path or hub checkpoint.

        Raises:
            PrerequisiteError: it is not on this machine.
            UsageError: a training has no such folder.
        """
        if self.kind == "shipped":
            return path_of(self.location)
        if self.kind == "path":
            return Path(self.location)
        if self.kind == "hub":
            return hub_snapshot(self.location, self.revision)
        raise UsageError(f"{self.location} is a training; it has exports, no pipeline's folder.")

    def weights(self) -> Found:
        """Return the network, LoRA or pipeline of a path or hub checkpoint.

        Raises:
            PrerequisiteError: it is not on this machine.
        """
        return find_weights(self.location, self.revision, hub=self.kind == "hub")

    def identity(self, store: Store | None = None) -> dict[str, Any]:
        """Return what enters an artifact's hash: contents, not places.

        A training need not have been done: its artifact's id says all.

        Args:
            store: where hashes of large files are remembered.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
            CorruptArtifactError: a shipped one is not what was shipped.
        """
        if self.kind == "train":
            return {"train": self.location, "step": self.step}
        if self.base is not None:
            found = self.weights()
            content = content_hash(found.folder, store)
            into = self.base.identity(store)
            return {"weights": found.kind, "files_sha256": content, "into": into}
        folder = self.folder()
        if self.kind == "shipped":
            weights_sha256(self.location)
        files: dict[str, Any] = {"files_sha256": content_hash(folder, store)}
        with suppress(UsageError):  # no adapter is for what curation paints with
            files |= adapter_of(folder).identity
        if self.kind == "hub":
            return {"hub": self.location, "revision": folder.name, **files}
        return files

    def sources(self) -> tuple[Source, ...]:
        """Return the code of a third party's adapter that loads it, or what it is put into.

        Raises:
            PrerequisiteError: the checkpoint is not on this machine.
            UsageError: no adapter is for it.
            ContractError: the adapter's source cannot be read.
        """
        if self.base is not None:
            return self.base.sources()
        return () if self.kind == "train" else adapter_of(self.folder()).sources

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckpointRef:
        """Read what `to_json` wrote.

        Raises:
            UsageError: a key is unknown, or a value is wrong.
        """
        return read(cls, data, "checkpoint")


def pick_device(device: str | None = None) -> str:
    """Return `device`, or the GPU where there is one, else the CPU."""
    import torch

    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: str) -> str:
    """Return what a manifest says of a device: the GPU's name, or the device itself."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def load_pipeline_backbone(
    ref: CheckpointRef, store: Store, *, dtype: str = "float32", device: str | None = None
) -> Backbone:
    """Load a checkpoint; that of a training is its base with the trained network in place.

    A LoRA stays attached to the network, active.

    Args:
        ref: what to load.
        store: where trainings are.
        dtype: precision of all parts.
        device: where they go; see `pick_device`.

    Raises:
        PrerequisiteError: files are missing.
        UsageError: the checkpoint is of an unknown family, the training has no such export, or
            its base is not named.
        CorruptArtifactError: bytes of the training's export were changed.
    """
    device = pick_device(device)
    base = ref.base
    if ref.kind != "train" and base is None:
        from bench.backbones import load_backbone

        # the commit the identity was made of, not what a branch's name means by now
        found = ref.folder()
        location, revision = (ref.location, found.name) if ref.kind == "hub" else (str(found), None)
        return load_backbone(
            location, revision=revision, dtype=dtype, device=device, local_files_only=True
        )
    from bench.training.export import load_export

    if base is None:
        raise UsageError(
            f"{ref.location} holds a trained network alone; name the checkpoint it started from "
            "(CheckpointRef.base), whose text encoder and VAE it works with."
        )
    export = weights_folder(ref, store)
    backbone = load_pipeline_backbone(base, store, dtype=dtype, device=device)
    backbone.denoiser = load_export(backbone, export).requires_grad_(False)
    return backbone


def weights_folder(ref: CheckpointRef, store: Store) -> Path:
    """Return the folder of a training's last export, or of weights that are on this machine.

    Raises:
        PrerequisiteError: they are not there.
        UsageError: the training has no such export.
        CorruptArtifactError: bytes of the training's export were changed.
    """
    if ref.kind == "train":
        return export_folder(store.get(ref.location), ref.step)
    return ref.folder() if ref.kind == "shipped" else ref.weights().folder


def export_folder(artifact: Artifact, step: int | None = None) -> Path:
    """Return the folder of an exported network in a train artifact, its bytes verified.

    The moving average is preferred where one was kept.

    Args:
        artifact: with files `exports/step-<step>[-ema]/...`.
        step: optimiser steps done; None takes the last export.

    Raises:
        UsageError: there is no such export; the steps there are, are named.
        CorruptArtifactError: a file was changed, or one lies there that the training did not make.
    """
    found = {m[1]: (int(m[2]), bool(m[3])) for f in artifact.files if (m := _EXPORT.match(f))}
    steps = sorted({number for number, _ in found.values()})
    wanted = step if step is not None else max(steps, default=0)
    names = [name for name, (number, _) in found.items() if number == wanted]
    if not names:
        raise UsageError(
            f"{artifact.id} has no export of step {wanted}; there are: {steps or 'none'}. Name one "
            "of those, or train with a save_every that divides the step and keep_exports: all."
        )
    name = max(names, key=lambda n: found[n][1])
    return artifact.folder(f"exports/{name}")
