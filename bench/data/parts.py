"""Tensors written part by part and joined into one file that can be memory-mapped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bench.api.errors import BenchError, CorruptArtifactError
from bench.store import Journal, Work, read_safetensors, writing_to
from bench.store.formats import Stored, safetensors_layout
from bench.store.writer import UNFINISHED_SUFFIX

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 1 << 20


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

    One part is open at a time, and a block of it in memory, however many there are and however
    long. Equal parts give equal bytes, however they were cut.

    Args:
        work: the working folder.
        name: of the file.
        parts: safetensors files holding the same names, with equal shapes but for the first axis.

    Raises:
        BenchError: the parts do not fit together.
        StoreError: the disk fails.
    """
    header = json.dumps(_joint_header(work, parts), separators=(",", ":")).encode("ascii")
    header += b" " * (-len(header) % 8)
    target = work.file(name)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
    with writing_to(unfinished), unfinished.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for key in sorted(safetensors_layout(parts[0])):
            for part in parts:
                _copy(part, safetensors_layout(part)[key], file)
    work.disk.fsync(unfinished)
    work.disk.replace(unfinished, target)
    return target


def _joint_header(work: Work, parts: Sequence[Path]) -> dict[str, object]:
    """Return the header of the joined file, from the headers of the parts."""
    first = _kinds(safetensors_layout(parts[0]))
    lengths, sizes = dict.fromkeys(first, 0), dict.fromkeys(first, 0)
    for part in parts:
        layout = safetensors_layout(part)
        if _kinds(layout) != first:
            raise BenchError(
                f"{part} holds other tensors than {parts[0]}; remove {work.path} and run the same "
                "command again."
            )
        for key, stored in layout.items():
            lengths[key] += stored.shape[0]
            sizes[key] += stored.end - stored.begin
    header: dict[str, object] = {}
    offset = 0
    for key, (dtype, shape) in sorted(first.items()):
        end = offset + sizes[key]
        whole = [lengths[key], *shape]
        header[key] = {"dtype": dtype, "shape": whole, "data_offsets": [offset, end]}
        offset = end
    return header


def _kinds(layout: Mapping[str, Stored]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return what the tensors of all parts have in common: element type, and shape of a row."""
    return {key: (stored.dtype, stored.shape[1:]) for key, stored in layout.items()}


def _copy(part: Path, stored: Stored, target: BinaryIO) -> None:
    """Append the bytes of a tensor to an open file."""
    left = stored.end - stored.begin
    with part.open("rb") as source:
        source.seek(stored.begin)
        while block := source.read(min(_BLOCK, left)):
            target.write(block)
            left -= len(block)
    if left:
        raise CorruptArtifactError(f"{part} was cut off while it was read")
