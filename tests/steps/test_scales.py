"""`--scales`: the rows of planned claims at other guidance scales."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.report.collect import command_words, empty_table
from bench.spec.request import Request, make_request
from bench.steps.cells import build_graph
from bench.steps.images import ImageStep
from bench.store import Store

TABLE = """\
title: t
source: s
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: ddspo, label: "+ DDSPO", method: ddspo}
  - {key: sft, label: "+ SFT", method: sft}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, per_image: correct,
     higher_is_better: true, decimals: 4}
  - {key: FID, label: f, evaluator: fid, metric: fid, higher_is_better: false, decimals: 2}
claims:
  - {better: ddspo, worse: base, column: GE, planned: true}
  - {better: sft, worse: base, column: GE}
profiles:
  tiny: {scales: {base: 2.0, ddspo: 1.5%s}}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE % "")
    return str(path)


def asked(file: str, **options: object) -> Request:
    return make_request(file, scales=True, **options)  # type: ignore[arg-type]


def test_both_rows_at_the_base_s_best_scale_and_each_at_its_own(file: str, tmp_path: Path) -> None:
    request = asked(file, seeds=[0, 1])
    keys = [row.key for row in request.rows]
    assert keys == ["base", "ddspo", "sft", "ddspo@2", "ddspo@1.5", "base@2"]
    graph = build_graph(request, Store(tmp_path / "store"))
    cells = {(c.row, c.column, c.training_seed) for c in graph.cells if "@" in c.row}
    assert {column for _, column, _ in cells} == {"GE"}  # where a planned claim is
    assert {("ddspo@2", "GE", 0), ("ddspo@1.5", "GE", 1), ("base@2", "GE", None)} <= cells
    plain = build_graph(make_request(file, seeds=[0, 1]), Store(tmp_path / "store")).graph
    new = [step for step in graph.graph if step.id not in {step.id for step in plain}]
    assert not [step for step in new if step.kind == "train"]  # one training, sampled again
    assert sorted(s.spec.cfg_scale for s in new if isinstance(s, ImageStep)) == [
        1.5, 1.5, 2.0, 2.0, 2.0, 2.0,
    ]  # fmt: skip
    assert empty_table(request, ()).scales == {"base": 2.0, "ddspo": 1.5}


def test_a_control_is_tested_at_the_protocol_s_scale_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    shows = 'method: ddspo, control: "null", columns: [GE, FID], base: sft'
    path.write_text((TABLE % "").replace("method: ddspo", shows))
    request = asked(str(path), controls=True)
    tested = {row.key: (row.control, *row.columns) for row in request.rows if row.columns}
    assert tested == {
        "ddspo": ("null", "GE", "FID"),
        **dict.fromkeys(("ddspo@2", "ddspo@1.5", "base@2"), ("", "GE")),
    }


def test_what_is_sampled_at_the_protocol_s_scale_already_is_not_sampled_again(file: str) -> None:
    request = asked(file, overrides=["generation.cfg_scale=2.0"])
    assert [row.key for row in request.rows if row.scale_of] == ["ddspo@1.5"]


def test_the_recorded_command_asks_for_the_same(file: str) -> None:
    request = asked(file)
    assert list(command_words(request)) == [
        "run", "--table", "mine.yaml", "--profile", "tiny", "--scales", "--seeds", "0",
    ]  # fmt: skip
    assert "--scales" not in list(command_words(make_request(file)))


def test_what_a_profile_or_another_table_says_of_scales_is_not_taken_over(file: str) -> None:
    with pytest.raises(UsageError, match="does not say at which guidance scale row base is best"):
        make_request("1a", scales=True)
    text = Path(file).read_text().replace("ddspo: 1.5", "sft: 1.5")
    Path(file).write_text(text)
    with pytest.raises(UsageError, match=r"row ddspo is best in profile tiny.*validation prompts"):
        asked(file)


def test_refused_on_the_command_line(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", "--table", file, "--scales", "--store", str(tmp_path / "s")]
    assert main([*words, "--rows", "base,sft"]) == 2
    assert "none of table mine is on the rows and columns asked for" in capsys.readouterr().err
    assert main(["plan", "--table", "fig2", "--scales"]) == 2
    assert "--scales means nothing for table fig2" in capsys.readouterr().err
    Path(file).write_text(TABLE % ", sft: high")
    assert main(words) == 2
    assert "scales.sft is 'high' (a str)" in capsys.readouterr().err
    Path(file).write_text(TABLE % ", sfd: 1")
    assert main(words) == 2
    assert "'sft'" in capsys.readouterr().err
