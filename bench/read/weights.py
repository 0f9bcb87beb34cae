"""Files of weights, looked at before a library opens them: an ordinary file, a sane header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import CorruptArtifactError, PrerequisiteError
from bench.read.text import NoTextError, head_of, kind_of_bytes, shown

_LONGEST_HEADER = 100_000_000


def load_tensors(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file, on the CPU.

    Raises:
        UnreadableFileError, NoTextError: as `require_safetensors`.
        SafetensorError: it is damaged.
    """
    from safetensors.torch import load_file

    require_safetensors(path)
    found: dict[str, Any] = load_file(path)
    return found


def load_arrays(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the numpy arrays of a safetensors file, and its metadata; raises as `load_tensors`."""
    from safetensors import safe_open

    require_safetensors(path)
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, dict(file.metadata() or {})


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata in a safetensors file's header; raises as `load_tensors`."""
    from safetensors import safe_open

    require_safetensors(path)
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def with_metadata(data: bytes, key: str, text: str) -> bytes:
    """Return the bytes of a safetensors file with one more text in its metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {**header.get("__metadata__", {}), key: text}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)  # the format aligns what follows
    return len(told).to_bytes(8, "little") + told + data[8 + length :]


def load_torch(path: Path) -> Any:
    """Return what a file of PyTorch's holds, on the CPU; plain tensors alone, no code is run.

    Raises:
        UnreadableFileError, NoTextError: as `require_torch`.
        RuntimeError, UnpicklingError, EOFError: as `torch.load`.
    """
    import torch

    require_torch(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def load_torchscript(path: Path) -> Any:
    """Return a module that TorchScript wrote, on the CPU.

    Raises:
        UnreadableFileError, NoTextError: as `require_torch`.
        RuntimeError: as `torch.jit.load`.
    """
    import torch

    require_torch(path)
    return torch.jit.load(str(path), map_location="cpu")


def onnx_session(path: Path, who: str) -> Any:
    """Return an onnxruntime session of a model, on one thread of the CPU.

    Args:
        path: the model.
        who: needs it, for messages.

    Raises:
        UnreadableFileError, NoTextError: as `require_onnx`.
        PrerequisiteError: onnxruntime is not installed.
        CorruptArtifactError: onnxruntime cannot read the file.
    """
    require_onnx(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise PrerequisiteError(
            f"{who} needs onnxruntime, which is not installed", fix="pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # cores are used by processes
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # what it raises is no public name
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CorruptArtifactError(
            f"{shown(path)} cannot be read as ONNX: {reason[0][:200]}. Fetch it again."
        ) from error


def require_safetensors(path: Path) -> None:
    """Look at the head of a file that a library is to open.

    Raises:
        UnreadableFileError: it is no ordinary file, or cannot be read.
        NoTextError: it does not begin as a safetensors file does; what it is, is said.
    """
    head = head_of(path)
    length, begins = int.from_bytes(head[:8], "little"), head[8:9]
    if len(head) > 8 and length <= _LONGEST_HEADER and begins == b"{":
        return
    told = "it is a pickle, which is not opened: convert it" if _is_pickle(head) else ""
    raise NoTextError(f"{shown(path)} is no safetensors file: {told or _other(head)}")


def require_onnx(path: Path) -> None:
    """Look at the head of a file that onnxruntime is to open.

    An ONNX model is a protocol buffer whose first field is its version (`ir_version`, a number).

    Raises:
        UnreadableFileError: it is no ordinary file, or cannot be read.
        NoTextError: it does not begin as such a file does; what it is, is said.
    """
    head = head_of(path)
    if head[:1] != b"\x08" or kind_of_bytes(head):
        raise NoTextError(f"{shown(path)} is no ONNX file: {_other(head)}")


def require_torch(path: Path) -> None:
    """Look at the head of a file that `torch.load(weights_only=True)` or `torch.jit` is to open.

    Since PyTorch 1.6 it is a zip archive; before, a pickle.

    Raises:
        UnreadableFileError: it is no ordinary file, or cannot be read.
        NoTextError: it begins as neither does; what it is, is said.
    """
    head = head_of(path)
    if not _is_pickle(head):
        raise NoTextError(f"{shown(path)} is no file of PyTorch's: {_other(head)}")


def _is_pickle(head: bytes) -> bool:
    return head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def _other(head: bytes) -> str:
    """Return what a file is that begins so and should hold weights."""
    if not head:
        return "it is empty"
    if not any(head):
        return "it begins with zeros; fetch it again"
    told = kind_of_bytes(head)
    return f"it is {told}" if told else "it is of another kind"
