"""A table on disk: `table.json` and `records.parquet`, and all formats made from them.

`table.json` holds the cells, their protocol and provenance, and the statistics; the per-image
values lie in `records.parquet`. From these two files alone the report is made again, byte for
byte; statistics are taken as stored while the hash of what they were computed from still fits,
and computed anew otherwise.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, UsageError
from bench.report.comma import render_csv
from bench.report.first_format import upgraded
from bench.report.latex import render_latex
from bench.report.markdown import render_markdown
from bench.report.model import (
    PLACE,
    CellData,
    ImageValue,
    TableData,
    cell_from_json,
    cell_to_json,
    place_of,
)
from bench.report.page import render_page
from bench.report.statistics import Statistics, compute
from bench.report.terminal import render_terminal
from bench.report.verified import declared_words
from bench.store import DISK, canonical_json, read_parquet

FORMAT = 2
JSON_FILE, MARKDOWN_FILE, CSV_FILE = "table.json", "table.md", "table.csv"
LATEX_FILE, PAGE_FILE = "table.tex", "table.html"
RECORDS_FILE, COMMAND_FILE = "records.parquet", "command.txt"
CAPTIONS = {
    "samples.png": "The same prompts from the same noise, one column a row of the table. "
    "Where scores go from 0 to 1, frames are green at 1 and red at 0.",
    "fig2.png": "Ground truth, noisy data, reference, Diffusion-DPO, DDSPO.",
    "fig2-exact.png": "The same with the exact score of the noisy data as reference.",
}
MAX_RECORDS_BYTES = 10_000_000
MAX_PICTURE_BYTES = 400_000
"""Of a picture that goes into the page; a larger one stays beside it."""
STATISTICS_VERSION = 2
"""Bumped when the statistics of unchanged cells may change."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table with its statistics.

    Attributes:
        data: without per-image values where they were not read.
        statistics: computed from `data`.
        inputs_sha256: hash of what they were computed from.
        targets: ids of the score artifacts, in table order: the same ids, the same report.
        version: `STATISTICS_VERSION` of the statistics.
    """

    data: TableData
    statistics: Statistics
    inputs_sha256: str
    targets: tuple[str, ...]
    version: int = STATISTICS_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the content of `table.json`."""
        data = {k: v for k, v in asdict(replace(self.data, cells=())).items() if k != "cells"}
        for name in ("verified", "facts"):  # tables that were stored before had none
            if not data[name]:
                del data[name]
        return {
            "format": FORMAT,
            "partial": self.data.partial,
            **data,
            "cells": [cell_to_json(cell) for cell in self.data.cells],
            "statistics": self.statistics.to_json(),
            "statistics_version": self.version,
            "inputs_sha256": self.inputs_sha256,
            "targets": list(self.targets),
        }

    def render(self, form: str, pictures: Mapping[str, bytes] | None = None) -> str:
        """Return the report as `"md"`, `"csv"`, `"json"`, `"tex"`, `"html"` or `"terminal"`.

        Args:
            form: one of these.
            pictures: PNG files by caption, for the page.
        """
        if form == "md":
            return render_markdown(self.data, self.statistics)
        if form == "csv":
            return render_csv(self.data, self.statistics)
        if form == "tex":
            return render_latex(self.data, self.statistics)
        if form == "html":
            return render_page(self.data, self.statistics, pictures)
        if form == "terminal":
            return render_terminal(self.data, self.statistics)
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        return f"{text}\n"


def make_report(data: TableData, targets: Sequence[str]) -> Report:
    """Compute the statistics of a table.

    Raises:
        ProtocolError, BenchError: as `bench.report.statistics.compute`.
    """
    return Report(
        data=data,
        statistics=compute(data),
        inputs_sha256=inputs_hash(data),
        targets=tuple(targets),
    )


def inputs_hash(data: TableData) -> str:
    """Return the hash of all the statistics depend on: cells, values, claims, columns."""
    head = {
        "version": STATISTICS_VERSION,
        "rows": [[row["key"], row["checkpoint"], row["control"]] for row in data.rows],
        "columns": list(data.columns),
        "claims": list(data.claims),
        **({"facts": list(data.facts)} if data.facts else {}),
        "cells": [cell_to_json(cell) for cell in data.cells],
    }
    digest = hashlib.sha256(canonical_json(head).encode("ascii"))
    for cell in data.cells:
        place = "\x1f".join(str(part) for part in place_of(cell))
        digest.update(f"\n{place}\n".encode())
        lines = [f"{v.prompt_id}\x1f{v.ordinal}\x1f{v.tag}\x1f{v.value!r}\n" for v in cell.values]
        digest.update("".join(lines).encode())
    return digest.hexdigest()


def write_report(report: Report, folder: Path, command: str | None = None) -> list[Path]:
    """Write table.{md,csv,json,tex,html}, records.parquet (and command.txt) atomically.

    Pictures (PNG) that lie in the folder become part of the page.

    Raises:
        StoreError: the folder cannot be written.
        BenchError: the records would be larger than may be committed.
    """
    written = []
    texts = _texts(report, folder)
    if command is not None:
        texts[COMMAND_FILE] = command
    files = {name: text.encode() for name, text in texts.items()}
    files[RECORDS_FILE] = records_bytes(report.data)
    if len(files[RECORDS_FILE]) > MAX_RECORDS_BYTES:
        raise BenchError(
            f"{RECORDS_FILE} would have {len(files[RECORDS_FILE])} bytes, more than the "
            f"{MAX_RECORDS_BYTES} that may be committed; publish fewer rows or seeds."
        )
    for name, content in files.items():
        DISK.write_atomically(folder / name, content)
        written.append(folder / name)
    return written


def _texts(report: Report, folder: Path) -> dict[str, str]:
    return {
        MARKDOWN_FILE: report.render("md"),
        CSV_FILE: report.render("csv"),
        JSON_FILE: report.render("json"),
        LATEX_FILE: report.render("tex"),
        PAGE_FILE: report.render("html", pictures_of(folder)),
    }


def pictures_of(folder: Path) -> dict[str, bytes]:
    """Return the pictures that go into a folder's page, by caption."""
    found = sorted(folder.glob("*.png"))
    return {
        CAPTIONS.get(file.name, file.stem): file.read_bytes()
        for file in found
        if file.stat().st_size <= MAX_PICTURE_BYTES
    }


def refresh_report(report: Report, folder: Path) -> None:
    """Write those of the rendered files anew that a change of the renderers has made stale.

    Raises:
        StoreError: the folder cannot be written.
    """
    for name, text in _texts(report, folder).items():
        file = folder / name
        if not file.is_file() or file.read_bytes() != text.encode():
            DISK.write_atomically(folder / name, text.encode())


def records_bytes(data: TableData) -> bytes:
    """Return the per-image values of all cells as a Parquet file; equal data, equal bytes."""
    import pyarrow
    import pyarrow.parquet

    rows = [(cell, value) for cell in data.cells for value in cell.values]
    text, small = pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), pyarrow.int32()
    fields: dict[str, tuple[Any, list[Any]]] = {
        "row": (text, [c.row for c, _ in rows]),
        "column": (text, [c.column for c, _ in rows]),
        "training_seed": (small, [c.training_seed for c, _ in rows]),
        "noise_seed": (small, [c.noise_seed for c, _ in rows]),
        "prompt_id": (text, [v.prompt_id for _, v in rows]),
        "ordinal": (small, [v.ordinal for _, v in rows]),
        "tag": (text, [v.tag for _, v in rows]),
        "value": (pyarrow.float64(), [v.value for _, v in rows]),
    }
    arrays = {name: pyarrow.array(values, type=kind) for name, (kind, values) in fields.items()}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), buffer, compression="zstd")
    return buffer.getvalue()


def read_table(folder: Path) -> Report:
    """Read `table.json` alone: cells without per-image values, statistics as stored.

    Raises:
        UsageError: there is none, or it is of another format.
    """
    path = folder / JSON_FILE
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}; run the table first, or name a folder that holds a table with "
            "--from."
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(stored, dict) or stored.get("format") not in (1, FORMAT):
        raise UsageError(f"{path} is not a table of format {FORMAT}; run the table again.")
    try:
        if stored["format"] == 1:
            stored = upgraded(stored)
        return _report(stored)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; run the table again.") from None


def read_report(folder: Path, *, recompute: bool = False) -> Report:
    """Read a table with its per-image values and make its report.

    Args:
        folder: holds `table.json` and `records.parquet`.
        recompute: compute the statistics even where the stored ones fit.

    Raises:
        UsageError: a file is missing or of another format.
        CorruptArtifactError: the records are damaged.
        BenchError: records and metrics disagree.
    """
    report = read_table(folder)
    path = folder / RECORDS_FILE
    if not path.is_file():
        raise UsageError(f"there is no {path}; it holds the per-image values of the table.")
    places = {(c.row, c.column, c.training_seed): place_of(c) for c in report.data.cells}
    values: dict[tuple[Any, ...], list[ImageValue]] = {}
    for row in read_parquet(path):
        if "seed" in row:  # format 1
            place = places[row.pop("row"), row.pop("column"), row.pop("seed")]
        else:
            place = tuple(row.pop(name) for name in PLACE)
        values.setdefault(place, []).append(ImageValue(**row))
    data = replace(
        report.data,
        cells=tuple(
            replace(cell, values=tuple(values.get(place_of(cell), ())))
            for cell in report.data.cells
        ),
    )
    digest = inputs_hash(data)
    if digest == report.inputs_sha256 and not recompute:
        return replace(report, data=data)
    return make_report(data, report.targets)


def _report(stored: Mapping[str, Any]) -> Report:
    cells = tuple(cell_from_json(cell, ()) for cell in stored["cells"])
    return Report(
        data=_data(stored, cells),
        statistics=Statistics.from_json(stored["statistics"]),
        version=stored["statistics_version"],
        inputs_sha256=stored["inputs_sha256"],
        targets=tuple(stored["targets"]),
    )


def _data(stored: Mapping[str, Any], cells: tuple[CellData, ...]) -> TableData:
    return TableData(
        table=stored["table"],
        title=stored["title"],
        source=stored["source"],
        profile=stored["profile"],
        orientation=stored["orientation"],
        limit=stored["limit"],
        seeds=tuple(stored["seeds"]),
        rows=tuple(stored["rows"]),
        columns=tuple(stored["columns"]),
        claims=tuple(stored["claims"]),
        footnotes=stored["footnotes"],
        published=stored["published"],
        cells=cells,
        command=tuple(stored["command"]),
        verified=stored["verified"] if "verified" in stored else declared_words(cells),
        facts=tuple(stored.get("facts", ())),
    )
