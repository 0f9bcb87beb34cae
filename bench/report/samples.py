"""A sheet of samples: the same prompts from the same noise, one column a row of the table.

Which prompts are shown follows from their order alone, never from what came out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.read.pictures import read_picture
from bench.report.model import CellData, TableData
from bench.store import Artifact, Store

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

    from bench.api.generation import ImageSet

SAMPLES_FILE = "samples.png"
PROMPTS, MOST_COLUMNS = 8, 10
SIDE = 96
"""Pixels of a picture's longer side; smaller ones are enlarged by whole factors."""
_GAP, _HEAD, _TEXT, _LETTERS = 8, 44, 220, 13
_RIGHT, _WRONG, _PARTLY = (26, 127, 75), (179, 38, 30), (140, 140, 140)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One row of the table as a column of the sheet.

    Attributes:
        label: of the row.
        files: image file by prompt id.
        values: per-image value by prompt id; empty where no frame is drawn.
    """

    label: str
    files: Mapping[str, Path]
    values: Mapping[str, float]


def draw_samples(data: TableData, store: Store) -> dict[str, bytes]:
    """Return `samples.png` of a table with per-image values, by its name; nothing without any.

    Shown is the first image of each prompt, of the first training seed. Where scores go from 0 to
    1, a frame is green at 1, red at 0, grey between. Rows whose images are gone are left out.

    Raises:
        CorruptArtifactError: a picture that is shown, or a list of stored images, was changed.
    """
    for column in data.columns:
        cells = [_first(data, row["key"], column["key"]) for row in data.shown]
        shown = [
            (str(row["label"]), cell, held)
            for row, cell in zip(data.shown, cells, strict=True)
            if cell is not None and (held := _images(cell, store)) is not None
        ]
        prompts = _prompts([cell for _, cell, _ in shown])
        if not prompts:
            continue
        framed = list(column["range"]) == [0.0, 1.0]
        found = [
            _column(label, cell, images, framed, artifact, prompts)
            for label, cell, (artifact, images) in shown
        ]
        known = {prompt.id: prompt.text for prompt in shown[0][2][1].suite}
        texts = {prompt: known[prompt] for prompt in prompts}
        return {SAMPLES_FILE: _sheet(found[:MOST_COLUMNS], texts)}
    return {}


def _first(data: TableData, row: str, column: str) -> CellData | None:
    cells = [c for c in data.of(row, column) if c.state == "measured" and c.values]
    held = [c for c in cells if "images" in c.provenance.get("artifacts", {})]
    return held[0] if held else None


def _prompts(cells: Sequence[CellData]) -> list[str]:
    """Return ids of prompts that all cells have: of each task the first, then the next ones."""
    if not cells:
        return []
    common = set.intersection(*({v.prompt_id for v in cell.values} for cell in cells))
    by_task: dict[str, list[str]] = {}
    for value in cells[0].values:
        listed = by_task.setdefault(value.tag, [])
        if value.prompt_id in common and value.prompt_id not in listed:
            listed.append(value.prompt_id)
    most = max((len(ids) for ids in by_task.values()), default=0)
    turns = [ids[n] for n in range(most) for ids in by_task.values() if n < len(ids)]
    return turns[:PROMPTS]


def _images(cell: CellData, store: Store) -> tuple[Artifact, ImageSet] | None:
    """Return a cell's images and where they are, None where the store has them no more."""
    from bench.generation.image_set import open_image_set

    try:
        artifact = store.get(cell.provenance["artifacts"]["images"])
    except UsageError:
        return None
    return artifact, open_image_set(artifact, verify=False)


def _column(
    label: str,
    cell: CellData,
    images: ImageSet,
    framed: bool,
    artifact: Artifact,
    prompts: Sequence[str],
) -> Column:
    first = [r for r in images.records if r.ordinal == 0 and r.prompt_id in prompts]
    return Column(
        label=label.removeprefix("+ "),
        files={record.prompt_id: artifact.file(record.path) for record in first},
        values={v.prompt_id: v.value for v in cell.values if v.ordinal == 0} if framed else {},
    )


def _sheet(columns: Sequence[Column], texts: Mapping[str, str]) -> bytes:
    from PIL import Image, ImageDraw

    wide = _TEXT + len(columns) * (SIDE + _GAP) + _GAP
    high = _HEAD + len(texts) * (SIDE + _GAP) + _GAP
    sheet = Image.new("RGB", (wide, high), "white")
    draw = ImageDraw.Draw(sheet)
    for place, column in enumerate(columns):
        left = _TEXT + place * (SIDE + _GAP)
        _write(draw, left, 6, list(_lines(column.label, _LETTERS))[:2])
        for line, prompt in enumerate(texts):
            top = _HEAD + line * (SIDE + _GAP)
            if prompt not in column.files:
                continue
            _paste(sheet, read_picture(column.files[prompt]).image, left, top)
            value = column.values.get(prompt)
            if value is not None:
                colour = _RIGHT if value == 1.0 else _WRONG if value == 0.0 else _PARTLY
                box = (left - 3, top - 3, left + SIDE + 2, top + SIDE + 2)
                draw.rectangle(box, outline=colour, width=2)
    for line, text in enumerate(texts.values()):
        _write(draw, _GAP, _HEAD + line * (SIDE + _GAP) + 4, list(_lines(text, 30))[:6])
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _paste(sheet: Picture, picture: Picture, left: int, top: int) -> None:
    """Paste a picture in a square of `SIDE`, pixels kept sharp where it is enlarged."""
    from PIL import Image

    longer = max(picture.size)
    if longer <= SIDE:
        factor = max(1, SIDE // longer)
        size = (picture.width * factor, picture.height * factor)
        fitted = picture.resize(size, Image.Resampling.NEAREST)
    else:
        fitted = picture.copy()
        fitted.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    sheet.paste(fitted, (left + (SIDE - fitted.width) // 2, top + (SIDE - fitted.height) // 2))


def _lines(text: str, letters: int) -> Iterator[str]:
    import textwrap
    from unicodedata import normalize

    # the embedded font has no raised signs: c⁻ is written c−, and that c-
    plain = normalize("NFKC", text).replace("\u2212", "-")
    yield from textwrap.wrap(plain, letters, break_long_words=True)


def _write(draw: ImageDraw, left: int, top: int, lines: Sequence[str]) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    for place, line in enumerate(lines):
        draw.text((left, top + 15 * place), line, fill="black", font=font)
