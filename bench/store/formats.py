"""Reading and writing safetensors, JSON lines and Parquet: equal data, equal bytes.

Each `write_…` takes the working folder of an artifact, each `read_…` a path, best one that
`Artifact.file` has verified. numpy, safetensors and pyarrow are imported on use.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import CorruptArtifactError, UsageError
from bench.store.identity import canonical_json

if TYPE_CHECKING:
    import numpy as np

    from bench.store.work import Work

# safetensors' names of the element types numpy knows, by numpy's
_DTYPES = {
    **{"BOOL": "bool", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4"},
    **{"I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"},
}


def write_safetensors(
    work: Work,
    name: str,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write named arrays. 0-d, empty and non-contiguous arrays are kept as they are.

    Raises:
        StoreError: the disk fails.
    """
    import numpy as np
    from safetensors.numpy import save

    # safetensors writes the bytes of a transposed array in memory order, under its new shape.
    ordered = {key: np.asarray(tensors[key], order="C") for key in sorted(tensors)}
    return work.write_bytes(name, ordered_safetensors(save(ordered, dict(metadata or {}) or None)))


def ordered_safetensors(data: bytes) -> bytes:
    """Return a serialised safetensors file with its metadata sorted.

    safetensors keeps metadata in a hash map, so that the same call gives other bytes each time
    when there is more than one entry. For bytes from `safetensors.torch.save` too.
    """
    header, start = _header(data[:8], data[8:], len(data))
    if "__metadata__" not in header:
        return data
    metadata = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """Where a tensor lies in a safetensors file.

    Attributes:
        dtype: its element type, as safetensors writes it.
        shape: as it says.
        begin, end: bytes from the start of the file.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def safetensors_layout(path: Path) -> dict[str, Stored]:
    """Return where the tensors of a file lie; the file is closed again, and nothing is mapped.

    Raises:
        CorruptArtifactError: the file is no intact safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = file.read(8)
        # a damaged length may name more bytes than there are
        text = file.read(min(int.from_bytes(length, "little"), size))
    try:
        header, start = _header(length, text, size)
        header.pop("__metadata__", None)
        return {name: _stored(entry, start) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{path} is no intact safetensors file: {error}") from error


def _stored(entry: Mapping[str, Any], start: int) -> Stored:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    return Stored(dtype=entry["dtype"], shape=shape, begin=start + begin, end=start + end)


def read_safetensors(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays (all, or those of `names`) as read-only views on the mapped file.

    Raises:
        CorruptArtifactError: the file is no intact safetensors file.
        UsageError: a name is missing, or its type (bfloat16, float8) is unknown to numpy.
    """
    import numpy as np

    layout = safetensors_layout(path)
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    arrays: dict[str, np.ndarray] = {}
    for name in layout if names is None else names:
        if name not in layout:
            raise UsageError(f"{path} has no tensor {name!r}; it has {', '.join(sorted(layout))}")
        stored = layout[name]
        if stored.dtype not in _DTYPES:
            raise UsageError(
                f"tensor {name!r} of {path} is {stored.dtype}, which numpy does not know; "
                "read it with safetensors.torch."
            )
        try:
            flat = mapped[stored.begin : stored.end].view(np.dtype(_DTYPES[stored.dtype]))
            arrays[name] = flat.reshape(stored.shape)
        except ValueError as error:
            raise CorruptArtifactError(f"tensor {name!r} of {path} is damaged: {error}") from error
    return arrays


def _header(length: bytes, rest: bytes, size: int) -> tuple[dict[str, Any], int]:
    """Return (header, offset of the first tensor) of a file of `size` bytes.

    Raises:
        ValueError: the header is damaged or the tensors do not fill the file exactly.
    """
    count = int.from_bytes(length, "little")
    if len(length) < 8 or len(rest) < count:
        raise ValueError("its header is cut off")
    header = json.loads(rest[:count])
    if not isinstance(header, dict):
        raise ValueError("its header is no mapping")
    entries = [entry for key, entry in header.items() if key != "__metadata__"]
    filled = max((entry["data_offsets"][1] for entry in entries), default=0)
    if 8 + count + filled != size:
        raise ValueError(f"it has {size} bytes instead of {8 + count + filled}")
    return header, 8 + count


def write_jsonl(work: Work, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write one canonical JSON object per line (sorted keys, no NaN).

    Raises:
        UsageError: a row holds NaN, an infinity, or what is no JSON.
        StoreError: the disk fails.
    """
    return work.write_bytes(name, "".join(f"{canonical_json(row)}\n" for row in rows).encode())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file.

    Raises:
        CorruptArtifactError: a line is no JSON object, or the last one is cut off.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not line.endswith(b"\n"):
            raise CorruptArtifactError(f"{path}, line {number}: expected one whole JSON object")
        rows.append(row)
    return rows


def read_parquet(source: Path | bytes) -> list[dict[str, Any]]:
    """Return the rows of a Parquet table, a file or its content; every row has every column.

    Raises:
        CorruptArtifactError: it is no intact Parquet table.
    """
    columns = read_columns(source)
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def read_columns(source: Path | bytes) -> dict[str, list[Any]]:
    """Return the columns of a Parquet table by name, in a tenth of the time that rows take.

    Raises:
        CorruptArtifactError: it is no intact Parquet table.
    """
    # one file, not a data set: a folder named like key=value must not add columns
    table = _parquet(source, lambda file: file.read(use_threads=False))
    columns = zip(table.column_names, table.columns, strict=True)
    return {name: [v for c in column.chunks for v in _values(c)] for name, column in columns}


def _values(chunk: Any) -> list[Any]:
    """Return a chunk's values; coded texts are looked up here, for `cast` imports much."""
    import pyarrow

    if not pyarrow.types.is_dictionary(chunk.type):
        return list(chunk.to_pylist())
    texts = chunk.dictionary.to_pylist()
    return [None if code is None else texts[code] for code in chunk.indices.to_pylist()]


def parquet_notes(source: Path | bytes) -> dict[str, str]:
    """Return the texts that were put into a Parquet table's metadata. Raises as `read_parquet`."""
    found = _parquet(source, lambda file: file.metadata.metadata or {})
    return {key.decode(): value.decode() for key, value in found.items() if key != b"ARROW:schema"}


def _parquet(source: Path | bytes, read: Callable[[Any], Any]) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.BufferReader(source) if isinstance(source, bytes) else source
        return read(pyarrow.parquet.ParquetFile(file))
    except pyarrow.ArrowInvalid as error:
        what = "this" if isinstance(source, bytes) else source
        raise CorruptArtifactError(f"{what} is no intact Parquet table: {error}") from error
