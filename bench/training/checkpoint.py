"""Checkpoints of a run: tensors as safetensors, the rest as JSON, a manifest with hashes."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.api.errors import CorruptArtifactError, UsageError
from bench.training.atomic import atomic_folder, remove_leftovers, write_json

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on disk whose files agree with its manifest.

    Attributes:
        folder: where it is.
        state: the JSON part, with at least `step` and `identity`.
    """

    folder: Path
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Number of optimiser steps done."""
        return int(self.state["step"])

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the named group of tensors, on the CPU."""
        return load_file(self.folder / f"{name}.safetensors")


def checkpoint_folder(root: Path, step: int) -> Path:
    """Return the folder of the checkpoint after `step` optimiser steps."""
    return root / f"step-{step:08d}"


def save_checkpoint(
    root: Path,
    *,
    groups: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a checkpoint atomically and remove all but the `keep` newest.

    Args:
        root: folder of the run's checkpoints.
        groups: named groups of tensors; each becomes `<name>.safetensors`.
        state: JSON-able mapping with `step` and `identity`.
        keep: number of checkpoints to keep, this one included.
        files: what else it holds, by name.

    Raises:
        StoreError: it cannot be written.
    """
    target = checkpoint_folder(root, int(state["step"]))
    with atomic_folder(target) as folder:
        for name, tensors in groups.items():
            packed = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(packed, folder / f"{name}.safetensors")
        write_json(folder / STATE, state)
        for name, data in (files or {}).items():
            (folder / name).write_bytes(data)
        hashes = {p.name: file_sha256(p) for p in sorted(folder.iterdir())}
        write_json(folder / MANIFEST, {"files": hashes})
    for old in _steps(root)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(root: Path) -> Checkpoint | None:
    """Return the newest checkpoint whose bytes agree with its manifest, or None.

    A damaged one is passed over with a warning.
    """
    return next(whole_checkpoints(root), None)


def whole_checkpoints(root: Path) -> Iterator[Checkpoint]:
    """Yield the checkpoints whose bytes agree with their manifests, the newest first.

    A damaged one is passed over with a warning.
    """
    if not root.is_dir():
        return
    for folder in reversed(_steps(root)):
        try:
            found = _read(folder)
        except CorruptArtifactError as error:
            log.warning("%s; going back to the one before", error)
            continue
        yield found


def _read(folder: Path) -> Checkpoint:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest["files"].items():
            if file_sha256(folder / name) != expected:
                raise CorruptArtifactError(f"{folder / name} is not what its manifest says")
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise CorruptArtifactError(f"checkpoint {folder} cannot be read: {error}") from error
    return Checkpoint(folder=folder, state=state)


def _steps(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("step-*") if path.is_dir())


def clear(root: Path) -> None:
    """Remove what interrupted writes left behind."""
    if root.is_dir():
        remove_leftovers(root)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def module_sha256(module: nn.Module) -> str:
    """Return a hash over names, dtypes, shapes and bytes of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()


def require_same_identity(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Make sure that a checkpoint belongs to the run that wants to resume from it.

    Raises:
        UsageError: it does not; the message lists what differs.
    """
    changed = differences(json.loads(json.dumps(found)), json.loads(json.dumps(expected)))
    if changed:
        raise UsageError(
            "the checkpoint belongs to another run; what differs (checkpoint -> now):\n  "
            + "\n  ".join(changed)
            + "\nUse another work folder, restore these settings, or pass resume=False to start "
            "anew."
        )


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return one line `path: old -> new` for each leaf in which two JSON values differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted({*old, *new}):
            name = f"{path}.{key}" if path else str(key)
            if key not in old or key not in new:
                had, has = old.get(key, "(absent)"), new.get(key, "(absent)")
                lines.append(f"{name}: {had} -> {has}")
            else:
                lines += differences(old[key], new[key], name)
        return lines
    return [] if old == new else [f"{path}: {old} -> {new}"]


def pack_optimiser(
    optimiser: torch.optim.Optimizer, names: list[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Flatten an optimiser's state into tensors `<parameter>/<entry>` and JSON-able rest.

    Args:
        optimiser: with one parameter group.
        names: of the parameters, in the group's order.
    """
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for key, value in entries.items():
            place = f"{names[number]}/{key}"
            if isinstance(value, Tensor):
                tensors[place] = value
            else:
                rest[place] = value
    return tensors, rest


def unpack_optimiser(
    optimiser: torch.optim.Optimizer,
    names: list[str],
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Put back what `pack_optimiser` returned."""
    numbers = {name: number for number, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for place, value in (*tensors.items(), *rest.items()):
        name, key = place.rsplit("/", 1)
        state.setdefault(numbers[name], {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
