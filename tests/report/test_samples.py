"""The sheet of samples, on rendered image sets."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.api import PromptSuite
from bench.generation.image_set import open_image_set
from bench.report.model import CellData, ImageValue, TableData
from bench.report.samples import SAMPLES_FILE, SIDE, draw_samples
from bench.store import Artifact, Store
from bench.tiny.suites import geneval_tiny
from bench.tiny.truth import render_image_set
from tests.report.tables import mean_cell, table

GREEN, RED, GREY = (26, 127, 75), (179, 38, 30), (140, 140, 140)
LEFT, TOP, STEP = 220, 44, SIDE + 8


def cell(row: str, artifact: Artifact, suite: PromptSuite, value: float) -> CellData:
    values = tuple(
        ImageValue(prompt_id=p.id, ordinal=n, tag=p.tag, value=value) for p in suite for n in (0, 1)
    )
    provenance = {"artifacts": {"images": artifact.id, "scores": f"scores/{row}"}}
    return replace(mean_cell(row, None, 0.0), values=values, provenance=provenance)


@pytest.fixture(scope="module")
def suite() -> PromptSuite:
    return geneval_tiny("test").limited(12)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def data(store: Store, suite: PromptSuite) -> TableData:
    sets = [render_image_set(store, suite, 2, seed=seed) for seed in range(3)]
    values = (0.0, 1.0, 0.5)
    cells = [
        cell(row, artifact, suite, value)
        for row, artifact, value in zip(("base", "dpo", "ddspo"), sets, values, strict=True)
    ]
    return replace(table(seeds=(0,)), cells=tuple(cells))


def drawn(data: TableData, store: Store) -> np.ndarray:
    sheets = draw_samples(data, store)
    assert list(sheets) == [SAMPLES_FILE]
    return np.asarray(Image.open(io.BytesIO(sheets[SAMPLES_FILE])))


def test_every_picture_stands_in_its_place_with_its_frame(data: TableData, store: Store) -> None:
    sheet = drawn(data, store)
    turns = _turns(data)[:8]
    assert sheet.shape == (TOP + len(turns) * STEP + 8, LEFT + 3 * STEP + 8, 3)
    for column, found in enumerate(data.cells):
        images = open_image_set(store.get(found.provenance["artifacts"]["images"]))
        for line, prompt in enumerate(turns):
            record = next(r for r in images.records if (r.prompt_id, r.ordinal) == (prompt, 0))
            pixels = np.asarray(Image.open(images.root / record.path).convert("RGB"))
            factor = SIDE // pixels.shape[0]
            left, top = LEFT + column * STEP, TOP + line * STEP
            shown = sheet[top : top + SIDE, left : left + SIDE]
            assert np.array_equal(shown[::factor, ::factor], pixels), prompt
            frame = tuple(int(x) for x in sheet[top - 3, left + SIDE // 2])
            assert frame == (RED, GREEN, GREY)[column]


def _turns(data: TableData) -> list[str]:
    by_task: dict[str, list[str]] = {}
    for value in data.cells[0].values:
        ids = by_task.setdefault(value.tag, [])
        if value.prompt_id not in ids:
            ids.append(value.prompt_id)
    longest = max(map(len, by_task.values()))
    return [ids[n] for n in range(longest) for ids in by_task.values() if n < len(ids)]


def test_which_prompts_are_shown_does_not_hang_on_the_values(data: TableData, store: Store) -> None:
    first = drawn(data, store)
    turned = tuple(
        replace(c, values=tuple(replace(v, value=1.0 - v.value) for v in c.values))
        for c in data.cells
    )
    second = drawn(replace(data, cells=turned), store)
    inner = (slice(TOP, TOP + SIDE), slice(LEFT, LEFT + SIDE))
    assert np.array_equal(first[inner], second[inner])
    assert not np.array_equal(first, second)  # the frames


def test_marks_that_do_not_end_at_one_have_no_frame(data: TableData, store: Store) -> None:
    columns = ({**data.columns[0], "range": [1.0, 5.0]}, *data.columns[1:])
    assert tuple(drawn(replace(data, columns=columns), store)[TOP - 3, LEFT + SIDE // 2]) == (
        255,
        255,
        255,
    )


def test_a_row_whose_images_are_gone_is_left_out(data: TableData, store: Store) -> None:
    gone = {"artifacts": {"images": "images/gone-0123456789ab"}}
    cells = (data.cells[0], replace(data.cells[1], provenance=gone), data.cells[2])
    assert drawn(replace(data, cells=cells), store).shape[1] == LEFT + 2 * STEP + 8


def test_a_table_without_images_has_no_sheet(store: Store) -> None:
    assert draw_samples(table(), store) == {}
