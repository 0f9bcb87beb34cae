"""A table on disk: `table.json` and `records.parquet`, and all formats made from them.

`table.json` holds the cells, their protocol and provenance, and the statistics; the per-image
values lie in `records.parquet`, with all of `table.json` but its statistics. From the records
alone the report is made again, byte for byte; statistics are taken as stored while the hash of
what they were computed from still fits, and computed anew otherwise. All is sealed
(`bench.store.folder`), and what is read is what was sealed.
"""

from __future__ import annotations

import io
import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, UsageError
from bench.report.comma import render_csv
from bench.report.first_format import upgraded
from bench.report.inputs import STATISTICS_VERSION as STATISTICS_VERSION
from bench.report.inputs import inputs_hash
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
from bench.report.sealed import (
    COMMAND_FILE,
    CSV_FILE,
    JSON_FILE,
    LATEX_FILE,
    MARKDOWN_FILE,
    NOTE,
    PAGE_FILE,
    RECORDS_FILE,
    damaged,
    head_of,
    open_table,
    packed,
    rendered_otherwise,
    stored_json,
)
from bench.report.statistics import NOT_COMPUTED, Statistics, compute
from bench.report.terminal import render_terminal
from bench.report.verified import declared_words
from bench.store import Published, publish_folder, read_columns

LOG = logging.getLogger("bench.report")

FORMAT = 2
CAPTIONS = {
    "samples.png": "The same prompts from the same noise, one column a row of the table. "
    "Where scores go from 0 to 1, frames are green at 1 and red at 0.",
    "fig2.png": "Ground truth, noisy data, reference, Diffusion-DPO, DDSPO.",
    "fig2-exact.png": "The same with the exact score of the noisy data as reference.",
}
MAX_RECORDS_BYTES = 10_000_000
MAX_PICTURE_BYTES = 400_000
"""Of a picture that goes into the page; a larger one stays beside it."""


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
        return {
            **head_json(self.data),
            "statistics": self.statistics.to_json(),
            "statistics_version": self.version,
            "inputs_sha256": self.inputs_sha256,
            "targets": list(self.targets),
        }

    def render(
        self, form: str, pictures: Mapping[str, bytes] | None = None, *, parts: bool = False
    ) -> str:
        """Return the report as `"md"`, `"csv"`, `"json"`, `"tex"`, `"html"` or `"terminal"`.

        Args:
            form: one of these.
            pictures: PNG files by caption, for the page.
            parts: in `"md"` and `"terminal"` also what each interval is made of; the other
                forms have it in any case, but for `"tex"`.
        """
        if form == "md":
            return render_markdown(self.data, self.statistics, parts=parts)
        if form == "csv":
            return render_csv(self.data, self.statistics)
        if form == "tex":
            return render_latex(self.data, self.statistics)
        if form == "html":
            return render_page(self.data, self.statistics, pictures)
        if form == "terminal":
            return render_terminal(self.data, self.statistics, parts=parts)
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


def head_json(data: TableData) -> dict[str, Any]:
    """Return all of `table.json` but what is computed from it and from the per-image values."""
    head = {k: v for k, v in asdict(replace(data, cells=())).items() if k != "cells"}
    for name in ("verified", "facts", "unrun", "scales", "leaderboard", "curve"):
        if not head[name]:  # tables that were stored before had none
            del head[name]
    cells = [cell_to_json(cell) for cell in data.cells]
    return {"format": FORMAT, "partial": data.partial, **head, "cells": cells}


def write_report(
    report: Report,
    folder: Path,
    command: str | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> list[Path]:
    """Publish table.{md,csv,json,tex,html}, records.parquet (and command.txt), sealed together.

    Args:
        report: with its per-image values.
        folder: sees all of it or nothing; files that are no part of the table are left.
        command: content of command.txt.
        pictures: PNG files by name, which become part of the page.

    Raises:
        StoreError: the folder cannot be written.
        BenchError: the records would be larger than may be committed.
    """
    pictures = pictures or {}
    records = records_bytes(report.data, report.targets)
    if len(records) > MAX_RECORDS_BYTES:
        raise BenchError(
            f"{RECORDS_FILE} would have {len(records)} bytes, more than the "
            f"{MAX_RECORDS_BYTES} that may be committed; publish fewer rows or seeds."
        )
    files = {**rendered_files(report, pictures), RECORDS_FILE: records, **pictures}
    if command is not None:
        files[COMMAND_FILE] = command.encode()
    publish_folder(folder, files)
    return [folder / name for name in files]


def command_of(words: Sequence[str]) -> str:
    """Return the command line that makes a table, as one line of text."""
    return f"python -m bench {shlex.join(words)}\n"


def rendered_files(report: Report, pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return `table.json` and all that is rendered of a report, by name."""
    texts = {
        MARKDOWN_FILE: report.render("md"),
        CSV_FILE: report.render("csv"),
        JSON_FILE: report.render("json"),
        LATEX_FILE: report.render("tex"),
        PAGE_FILE: report.render("html", captioned(pictures)),
    }
    return {name: text.encode() for name, text in texts.items()}


def pictures_of(published: Published) -> dict[str, bytes]:
    """Return the pictures of a published table, by name.

    Raises:
        CorruptArtifactError: one is damaged, which only running the table again can mend.
    """
    lost = [name for name in published.faults if name.endswith(".png")]
    if lost:
        raise damaged(published, *lost)
    return {n: data for n, data in sorted(published.files.items()) if n.endswith(".png")}


def captioned(pictures: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the pictures that go into a table's page, by caption."""
    return {
        CAPTIONS.get(name, name.removesuffix(".png")): data
        for name, data in sorted(pictures.items())
        if len(data) <= MAX_PICTURE_BYTES
    }


def refresh_report(report: Report, published: Published) -> None:
    """Publish an intact folder anew where a change of the renderers has made files of it stale.

    Raises:
        StoreError: the folder cannot be written.
    """
    texts = rendered_files(report, pictures_of(published))
    publish_folder(published.path, {**published.files, **texts})


def records_bytes(data: TableData, targets: Sequence[str] = ()) -> bytes:
    """Return the per-image values of all cells as a Parquet file; equal data, equal bytes.

    Its metadata hold the table itself, so that `table.json` can be made again.
    """
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
    table, head = pyarrow.table(arrays), {**head_json(data), "targets": list(targets)}
    with pyarrow.parquet.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({NOTE: packed(head)})
    return buffer.getvalue()


def read_table(source: Path | Published) -> Report:
    """Read a table without its per-image values, statistics as stored.

    Args:
        source: the folder, or what `open_table` returned for it.

    Statistics of another version are left out: they knew another error term.

    Raises:
        UsageError: there is none, or it is of another format.
        CorruptArtifactError: it is damaged and cannot be made again from its records.
    """
    published = open_table(source) if isinstance(source, Path) else source
    if JSON_FILE not in published.files:
        return _made_again(published)
    path, stored = published.path / JSON_FILE, stored_json(published)
    if stored is None:
        raise UsageError(f"{path} is no JSON; run the table again.")
    if stored.get("format") not in (1, FORMAT):
        raise UsageError(f"{path} is not a table of format {FORMAT}; run the table again.")
    try:
        return _report(upgraded(stored) if stored["format"] == 1 else stored)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} is damaged: {error!r}; run the table again.") from None


def read_report(source: Path | Published, *, recompute: bool = False) -> Report:
    """Read a table with its per-image values and make its report.

    Args:
        source: the folder, or what `open_table` returned for it.
        recompute: compute the statistics even where the stored ones fit.

    Raises:
        UsageError: there is no table, or it is of another format.
        CorruptArtifactError: records or the table are damaged and cannot be made again.
        BenchError: records and metrics disagree.
    """
    published = open_table(source) if isinstance(source, Path) else source
    report = read_table(published)
    data = with_values(report.data, published)
    otherwise = rendered_otherwise(published)
    if otherwise is not None:
        LOG.warning("%s: %s\n  to render them anew: %s", published.path, *otherwise)
    same = report.version == STATISTICS_VERSION
    if same and inputs_hash(data) == report.inputs_sha256 and not recompute:
        return replace(report, data=data)
    if same and not recompute:
        LOG.warning(
            "%s: its statistics were not computed from its cells and records; they are computed "
            "anew",
            published.path,
        )
    return make_report(data, report.targets)


def with_values(data: TableData, published: Published) -> TableData:
    """Return a table with the per-image values of its records.

    Raises:
        CorruptArtifactError: the records are damaged.
    """
    if RECORDS_FILE not in published.files:
        raise damaged(published, RECORDS_FILE)
    columns = read_columns(published.files[RECORDS_FILE])
    if "seed" in columns:  # format 1
        known = {(c.row, c.column, c.training_seed): place_of(c) for c in data.cells}
        keys = zip(columns["row"], columns["column"], columns["seed"], strict=True)
        places = [known[key] for key in keys]
    else:
        places = list(zip(*(columns[name] for name in PLACE), strict=True))
    values: dict[tuple[Any, ...], list[ImageValue]] = {}
    records = (columns[name] for name in ("prompt_id", "ordinal", "tag", "value"))
    for place, prompt_id, ordinal, tag, value in zip(places, *records, strict=True):
        found = ImageValue(prompt_id=prompt_id, ordinal=ordinal, tag=tag, value=value)
        values.setdefault(place, []).append(found)
    cells = (replace(cell, values=tuple(values.get(place_of(cell), ()))) for cell in data.cells)
    return replace(data, cells=tuple(cells))


def table_of(head: Mapping[str, Any]) -> TableData:
    """Read what `head_json` wrote; raises KeyError and TypeError where it is something else."""
    return _data(head, tuple(cell_from_json(cell, ()) for cell in head["cells"]))


def _made_again(published: Published) -> Report:
    """Make `table.json` again from the records, saying so."""
    head = head_of(published)
    if head is None or head.get("format") != FORMAT:
        raise damaged(published, JSON_FILE)
    report = make_report(with_values(table_of(head), published), head["targets"])
    LOG.warning("%s: the table is made again from its %s", published.path, RECORDS_FILE)
    return report


def _report(stored: Mapping[str, Any]) -> Report:
    return Report(
        data=table_of(stored),
        statistics=Statistics.from_json(stored["statistics"])
        if stored["statistics_version"] == STATISTICS_VERSION
        else NOT_COMPUTED,
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
        unrun=tuple(stored.get("unrun", ())),
        scales=stored.get("scales", {}),
        leaderboard=stored.get("leaderboard"),
        curve=tuple(stored.get("curve", ())),
    )
