"""Tables of curves: every row at every scale, by one training."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.report.collect import command_words, empty_table
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.steps.images import ImageStep
from bench.store import Store

TABLE = """\
title: t
source: s
curve: [1, 2, 2.5]
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: ddspo, label: "+ DDSPO", method: ddspo}
  - {key: truth, label: ceiling, render: exact, control: ceiling}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, per_image: correct,
     higher_is_better: true, decimals: 4}
  - {key: CB, label: c, evaluator: t2i-compbench, metric: overall, per_image: score,
     higher_is_better: true, decimals: 4}
claims:
  - {better: ddspo, worse: base, column: GE, planned: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    return path


def test_all_rows_but_renders_at_all_scales(file: Path, tmp_path: Path) -> None:
    request = make_request(str(file), seeds=[0, 1], controls=True)
    assert [row.key for row in request.rows] == [
        "base", "ddspo", "truth", "base@1", "base@2", "ddspo@1", "ddspo@2",
    ]  # fmt: skip
    graph = build_graph(request, Store(tmp_path / "store")).graph
    assert len([step for step in graph if step.kind == "train"]) == 2
    scales = [s.spec.cfg_scale for s in graph if isinstance(s, ImageStep)]
    assert {scale: scales.count(scale) for scale in scales} == {1.0: 8, 2.0: 8, 2.5: 8}
    assert empty_table(request, ()).curve == (1.0, 2.0, 2.5)


def test_the_recorded_command_asks_for_the_same(file: Path) -> None:
    request = make_request(str(file), columns=["GE"])
    assert "--scales" not in list(command_words(request))
    assert [row.columns for row in request.rows if row.scale_of] == [("GE",)] * 4


def test_refused_on_the_command_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--table", str(file), "--store", str(tmp_path / "s")]
    assert main([*words, "--scales"]) == 2
    assert "shows all its rows at all scales of its curve" in capsys.readouterr().err
    assert main([*words, "--set", "generation.cfg_scale=1.5"]) == 2
    assert "is sampled at guidance scale 1.5, which is none of its" in capsys.readouterr().err
    for given in ("[3, 1]", "[1, 1]", "[2]", "2", "[0.5, 1]", "[1, high]"):
        file.write_text(TABLE.replace("[1, 2, 2.5]", given))
        assert main(words) == 2
        assert "table mine" in (error := capsys.readouterr().err) and "curve" in error
    own = "method: ddspo, note: n, sampling: {cfg_scale: 2.0}"
    file.write_text(TABLE.replace("method: ddspo", own))
    assert main(words) == 2
    assert "leave sampling.cfg_scale out" in capsys.readouterr().err


def test_no_world_without_guidance_has_a_curve(file: Path) -> None:
    with pytest.raises(UsageError, match="sampled without guidance"):
        from bench.spec.curve import curve_of

        curve_of([1, 2], "table t", "points")
