"""Tensors written part by part and joined into one file that can be memory-mapped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.api.errors import BenchError
from bench.store import Journal, Work, read_safetensors, writing_to
from bench.store.writer import UNFINISHED_SUFFIX

_NAMES = {"float16": "F16", "float32": "F32"}


class Parts:
    """The numbered parts of a file in the making, each with the hash it had when it was written.

    They are scratch files beneath `parts/`; see `bench.store.journal`.

    Args:
        work: the working folder.
        what: they are parts of.
        ending: of their files.
    """

    def __init__(self, work: Work, what: str, ending: str = "safetensors") -> None:
        self._work = work
        self._what, self._ending = what, ending
        self._journal = Journal(work.path, f"parts/{what}.index.jsonl", work.disk)

    def name(self, number: int) -> str:
        """Return the name of a part's file."""
        return f"parts/{self._what}-{number:06d}.{self._ending}"

    def find(self, number: int) -> Path | None:
        """Return the path of a part that is there as it was written, else None."""
        name = self.name(number)
        return self._work.path / name if name in self._journal.entries else None

    def read(self, number: int, rows: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a part, or None where it is not there or of another length."""
        path = self.find(number)
        return None if path is None else read_part(path, rows)

    def seal(self, number: int) -> Path:
        """Note a part that was just written, and return its path."""
        name = self.name(number)
        self._journal.seal(name, [name])
        return self._work.path / name

    def paths(self, count: int) -> list[Path]:
        """Return the paths of the first `count` parts.

        Raises:
            StoreError: one was changed since it was written or found.
        """
        for number in range(count):
            self._journal.require(self.name(number))
        return [self._work.path / self.name(number) for number in range(count)]


def read_part(path: Path, rows: int) -> dict[str, np.ndarray] | None:
    """Return the arrays of a part, or None where it is damaged or of another length."""
    try:
        arrays = read_safetensors(path)
    except (BenchError, OSError):
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
