"""Files of weights, looked at before a library opens them: an ordinary file, a sane header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.read.text import NoTextError, head_of, shown

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
    told = "it is of another kind"
    if not head:
        told = "it is empty"
    elif head.startswith(b"version https://git-lfs"):
        told = "it is a pointer of git LFS; fetch the file itself (git lfs pull)"
    elif head[:2] in (b"PK", b"\x80\x02"):
        told = "it is a pickle, which is not opened: convert it"
    elif head.lstrip()[:1] == b"<":
        told = "it is a web page"
    raise NoTextError(f"{shown(path)} is no safetensors file: {told}")
