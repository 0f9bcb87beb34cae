"""Tables of curves: rows over the guidance scale, and each at its own best one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.report.curve_words import few_images
from bench.report.curves import _first_half, own_bests
from bench.report.model import CellData, ImageValue, TableData
from bench.report.statistics import compute
from bench.report.stored import make_report, read_report, write_report
from bench.stats import clustered_mean
from tests.report.tables import PROTOCOL, TAGS, row, table

SCALES = (1.0, 2.0, 3.0)
"""The synthetic protocol samples at 2."""
Mean = Callable[[str, float], float]


def drawn(key: str, of: str, scale: float, seed: int | None, mean: float, run: int) -> CellData:
    """24 prompts of two tasks, two images each, of noise of its own."""
    own = np.random.default_rng([run, seed or 0, int(10 * scale), *of.encode()])
    values = tuple(
        ImageValue(
            prompt_id=f"p{number:02d}",
            ordinal=ordinal,
            tag=TAGS[number % 2],
            value=float(own.random() < mean),
        )
        for number in range(24)
        for ordinal in range(2)
    )
    estimate = clustered_mean(
        [v.value for v in values], [v.prompt_id for v in values], [v.tag for v in values]
    )
    return CellData(
        row=key, column="GE", training_seed=seed, noise_seed=0, state="measured",
        estimate=estimate, protocol=PROTOCOL, values=values,
    )  # fmt: skip


def curves(mean: Mean, run: int = 0, seeds: int = 3) -> TableData:
    """Base and DDSPO at three scales, GE alone; `mean` is what an image scores on average."""
    plain = table(seeds=tuple(range(seeds)))
    rows, cells = [], []
    for of in ("base", "ddspo"):
        made_by = {"label": "base", "checkpoint": "base", "method": None} if of == "base" else {}
        for scale in SCALES:
            key = of if scale == 2.0 else f"{of}@{scale:g}"
            here = {} if scale == 2.0 else {"sampling": {"cfg_scale": scale}, "scale_of": of}
            rows.append(row(key, **{**made_by, **here, "label": key}))
            trained = [None] if of == "base" else list(range(seeds))
            cells += [drawn(key, of, scale, seed, mean(of, scale), run) for seed in trained]
    return replace(
        plain, rows=tuple(rows), cells=tuple(cells), columns=plain.columns[:1], claims=(),
        published={}, curve=SCALES,
    )  # fmt: skip


def free(of: str, scale: float) -> float:
    """What the method has at 2, the base has at 3, and no row has more anywhere."""
    at = {"base": (0.2, 0.5, 0.8), "ddspo": (0.5, 0.8, 0.6)}
    return at[of][SCALES.index(scale)]


def test_a_gain_along_the_base_s_own_curve_is_none() -> None:
    found = compute(curves(free))
    assert [(p.row, p.scale) for p in found.points[:3]] == [("base", s) for s in SCALES]
    base, ddspo = found.own
    assert base.scales == (3.0, 3.0) and ddspo.scales == (2.0, 2.0)
    assert base.fixed is None and base.moved.value == pytest.approx(0.3, abs=0.12)
    assert ddspo.fixed is not None and ddspo.difference is not None and ddspo.guidance is not None
    assert ddspo.fixed.value == pytest.approx(found.difference("ddspo", "GE").estimate.value)  # type: ignore[union-attr]
    assert ddspo.fixed.value > 0.2 and abs(ddspo.difference.value) < 0.12
    # image by image, guidance is what is lost between the two
    assert ddspo.guidance.value == pytest.approx(ddspo.fixed.value - ddspo.difference.value)
    assert (ddspo.moved.value, ddspo.images) == (0.0, 3 * 48)


def test_the_best_of_equal_scales_is_not_better_than_they_are() -> None:
    # 150 runs in which all that is measured is .5 on average: the largest of three means of 48
    # images is .56, and what is chosen on one half and measured on the other is .5 again
    values, largest = [], []
    for run in range(150):
        data = curves(lambda of, scale: 0.5, run=run, seeds=1)
        values.append(next(iter(own_bests(data))).value.value)
        largest.append(max(c.estimate.value for c in data.cells if c.row.startswith("base")))  # type: ignore[union-attr]
    error = float(np.std(values)) / np.sqrt(len(values))
    assert abs(float(np.mean(values)) - 0.5) < 3.0 * error
    assert float(np.mean(largest)) > 0.5 + 5.0 * error


def test_each_prompt_is_measured_at_the_scale_the_other_half_chose() -> None:
    data = curves(lambda of, scale: 0.5)
    first = _first_half(iter([data.cells[0].values]))
    tasks = [{v.prompt_id for v in data.cells[0].values if v.tag == tag} for tag in TAGS]
    assert [len(first & prompts) for prompts in tasks] == [6, 6]
    # the first half is best at 1, the second at 3, and both as bad as can be elsewhere
    best = {True: 1.0, False: 3.0}

    def scored(cell: CellData) -> CellData:
        scale = cell.row.partition("@")[2]
        at = float(scale) if scale else 2.0
        values = tuple(
            replace(v, value=1.0 if at == best[v.prompt_id in first] else 0.25) for v in cell.values
        )
        mean = float(np.mean([v.value for v in values]))
        return replace(cell, values=values, estimate=replace(cell.estimate, value=mean))  # type: ignore[type-var]

    shifted = replace(data, cells=tuple(scored(cell) for cell in data.cells))
    (base, _) = compute(shifted).own
    assert base.scales == (1.0, 3.0)
    assert base.value.value == 0.25  # measured where the other half is best: nothing is kept


def test_what_is_not_whole_has_no_own_best_scale() -> None:
    data = curves(free)
    lost = tuple(c for c in data.cells if c.row != "ddspo@3")
    found = compute(replace(data, cells=lost))
    assert {own.row for own in found.own} == {"base"}
    assert ("ddspo", 3.0) not in {(p.row, p.scale) for p in found.points}
    text = make_report(replace(data, cells=lost), []).render("md")
    assert "over the guidance scale" in text


def test_every_form_says_it() -> None:
    report = make_report(curves(free), [])
    for form in ("md", "terminal", "html"):
        flat = " ".join(report.render(form).split())
        assert "own best guidance scale" in flat and "over the guidance scale" in flat
    assert max(map(len, report.render("terminal").splitlines())) <= 80
    lines = report.render("csv").splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == [
        "base", "ddspo", "base@1", "base@3", "ddspo@1", "ddspo@3",
    ]  # fmt: skip
    page = report.render("html")
    assert page.count('<svg class="curve"') == 1 and page.count('class="line"') == 2
    assert '<li class="c1">ddspo</li>' in page
    assert "fewer than the 1,000" in few_images(report.statistics.own)


def test_stored_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    report = make_report(curves(free), ["a"])
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
