"""Tensors written part by part and joined into one file that can be memory-mapped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.api.errors import BenchError
from bench.store import Work, read_safetensors, writing_to
from bench.store.writer import UNFINISHED_SUFFIX

_NAMES = {"float16": "F16", "float32": "F32"}


def read_part(path: Path, rows: int) -> dict[str, np.ndarray] | None:
    """Return the arrays of a part, or None where it is missing, damaged or of another length."""
    if not path.is_file():
        return None
    try:
        arrays = read_safetensors(path)
    except BenchError:
        return None
    whole = bool(arrays) and all(len(array) == rows for array in arrays.values())
    return arrays if whole else None


def join_parts(work: Work, name: str, parts: Sequence[Path]) -> Path:
    """Join parts along the first axis into the safetensors file `name`, and return its path.

    Only one part is in memory at a time. Equal parts give equal bytes, however many there are.

    Args:
        work: the working folder.
        name: of the file.
        parts: safetensors files holding the same names, with equal shapes but for the first axis.

    Raises:
        BenchError: the parts do not fit together.
        StoreError: the disk fails.
    """
    opened = [read_safetensors(part) for part in parts]
    shapes = {key: (array.shape[1:], array.dtype.name) for key, array in opened[0].items()}
    for part, arrays in zip(parts, opened, strict=True):
        if {key: (array.shape[1:], array.dtype.name) for key, array in arrays.items()} != shapes:
            raise BenchError(
                f"{part} holds other tensors than {parts[0]}; remove {work.path} and run the same "
                "command again."
            )
    header: dict[str, object] = {}
    offset = 0
    for key in sorted(shapes):
        shape, dtype = shapes[key]
        whole = [sum(len(arrays[key]) for arrays in opened), *shape]
        end = offset + int(np.prod(whole)) * np.dtype(dtype).itemsize
        entry = {"dtype": _NAMES[dtype], "shape": whole, "data_offsets": [offset, end]}
        header[key], offset = entry, end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    target = work.file(name)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
    with writing_to(unfinished), unfinished.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in sorted(shapes):
            for arrays in opened:
                file.write(np.ascontiguousarray(arrays[key]).data)
    work.disk.fsync(unfinished)
    work.disk.replace(unfinished, target)
    return target
