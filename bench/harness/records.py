"""Metrics and per-sample records as files of their own, or as a frame."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import PrerequisiteError

if TYPE_CHECKING:
    import pandas

METRICS_FILE, LINES_FILE, TABLE_FILE = "metrics.json", "records.jsonl", "records.parquet"


def write_results(
    folder: Path,
    metrics: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    *,
    about: Mapping[str, Any],
) -> list[Path]:
    """Write `metrics.json`, `records.jsonl` and `records.parquet`, each whole or not at all.

    Args:
        folder: made where it is missing; files of these names in it are replaced.
        metrics: by name, as `Estimate.to_json`.
        records: one per sample.
        about: what was measured; kept beside the metrics and in the Parquet file's metadata.

    Raises:
        StoreError: the folder cannot be written.
    """
    from bench.store import DISK, canonical_json

    text = json.dumps({**about, "metrics": dict(metrics)}, indent=1, ensure_ascii=False)
    files = {
        LINES_FILE: "".join(f"{canonical_json(row)}\n" for row in records).encode(),
        TABLE_FILE: parquet_bytes(records, about),
        METRICS_FILE: f"{text}\n".encode(),
    }
    for name, data in files.items():
        DISK.write_atomically(folder / name, data)
    return [folder / name for name in files]


def parquet_bytes(records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> bytes:
    """Return records as a Parquet table: plain columns, and JSON text where a value has parts.

    A column whose values are of unlike kinds is JSON text too, so that every row can be read back.
    """
    import pyarrow
    import pyarrow.parquet

    columns = list(dict.fromkeys(key for row in records for key in row))
    arrays = {name: _column([row.get(name) for row in records]) for name in columns}
    notes = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()
    }
    table = pyarrow.table(arrays).replace_schema_metadata(notes)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _column(values: list[Any]) -> Any:
    import pyarrow

    kinds = {type(v) for v in values if v is not None}
    if len(kinds) <= 1 and kinds <= {str, int, float, bool}:
        return pyarrow.array(values)
    if kinds == {int, float}:
        return pyarrow.array(values, type=pyarrow.float64())
    return pyarrow.array(
        [None if v is None else json.dumps(v, ensure_ascii=False) for v in values],
        type=pyarrow.string(),
    )


def frame(records: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return records as a frame (PrerequisiteError: pandas is not installed)."""
    try:
        import pandas
    except ImportError as error:
        raise PrerequisiteError(
            "a frame needs pandas, which is not installed", fix="pip install pandas"
        ) from error
    return pandas.DataFrame(records)
