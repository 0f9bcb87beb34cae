"""Reading the checkpoints of reward models, in the formats their authors published them in."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from bench.api.errors import CorruptArtifactError
from bench.read.weights import load_tensors, load_torch


def read_tensors(path: Path, *, under: str | None = None) -> dict[str, Any]:
    """Return the tensors of a `.pt`, `.pth` or `.safetensors` file by name; nothing is executed.

    Args:
        path: the file.
        under: the key they may stand under, as in `{"state_dict": {...}}`.

    Raises:
        CorruptArtifactError: the file is no such checkpoint.
    """
    import torch

    if path.suffix == ".safetensors":
        found: dict[str, Any] = load_tensors(path)
        return found
    try:
        data = load_torch(path)
    except (RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise CorruptArtifactError(
            f"{path} is no PyTorch checkpoint of plain tensors ({error}). Fetch it again."
        ) from None
    if under is not None and isinstance(data, dict) and under in data:
        data = data[under]
    if not isinstance(data, dict) or not all(torch.is_tensor(v) for v in data.values()):
        raise CorruptArtifactError(
            f"{path} holds a {type(data).__name__}; expected tensors by name. Fetch it again."
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in data.items()}


def fill(network: Any, tensors: dict[str, Any], source: Path, *, device: str) -> Any:
    """Load `tensors` into a network, all of it and nothing else, and return it in float32.

    Raises:
        CorruptArtifactError: weights are missing, unknown or of another shape, naming one.
    """
    try:
        missing, unknown = network.load_state_dict(
            {name: tensor.float() for name, tensor in tensors.items()}, strict=False
        )
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CorruptArtifactError(f"{source}: weights of another shape: {first}") from None
    if missing or unknown:
        raise CorruptArtifactError(
            f"{source}: {len(missing)} weights of the network are missing and {len(unknown)} are "
            f"unknown, e.g. {[*missing, *unknown][0]}. It belongs to another network, or is torn: "
            "fetch it again."
        )
    return network.float().to(device).eval().requires_grad_(False)
