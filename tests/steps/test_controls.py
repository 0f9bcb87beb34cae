"""Control rows of a table's file: what each must show, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.spec.request import make_request
from bench.spec.table import TableSpec, load_table, read_table, table_names
from bench.steps.cells import build_graph
from bench.store import Store
from tests.steps.test_spec import BASE, MINIMAL

METHOD = {"key": "a", "label": "a", "method": "ddspo"}
TESTED = {**METHOD, "key": "n", "label": "n", "control": "null", "columns": ["GE"]}
AGAIN = {**BASE, "key": "again", "label": "again", "sampling_seed": 9}


def read(*rows: dict[str, Any], **parts: Any) -> TableSpec:
    return read_table("t", {**MINIMAL, "rows": [BASE, METHOD, *rows], **parts})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"control": True}, "row 3: row 'n': control is True, which does not say what"),
        ({"control": "improve"}, "does not say what the row must show.*'improves'"),
        ({"columns": []}, "control: null and no columns: it does not say where"),
        ({"control": "improves", "columns": ()}, "control: improves and no columns"),
        ({"columns": ["GF"]}, "unknown column.*'GE'"),
        ({"columns": "GE"}, "expected a list"),
        ({"concerns": ["b"]}, "unknown row"),
        ({"concerns": ["n"]}, "concerns 'n', a control itself"),
        ({"base": "bsae"}, "unknown row.*'base'"),
        ({"base": "n"}, "cannot be compared with itself"),
        ({"control": "probe"}, "has columns, which only a control that is tested reads"),
        ({"control": "ceiling", "columns": [], "base": "base"}, "has base, which only a control"),
        ({"sampling_seed": 1}, "seeds are not paired"),
    ],
)
def test_a_control_that_cannot_be_tested_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read({**TESTED, **row})


def test_without_a_base_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(UsageError, match="no base to compare it with; name a row with base: ROW"):
        read_table("t", {**MINIMAL, "rows": [METHOD, TESTED]})
    named = read_table("t", {**MINIMAL, "rows": [METHOD, {**TESTED, "base": "a"}]})
    assert named.row("n").base == "a"


def test_claims_over_seeds_that_are_not_paired_are_refused() -> None:
    again = {**AGAIN, "control": "null", "columns": ["GE"]}
    assert read(again).row("again").sampling_seed == 9  # A against A is across noise
    other = {**METHOD, "key": "b", "label": "b", "sampling_seed": 3}
    for better, worse in (("a", "again"), ("b", "a"), ("b", "again")):
        claim = {"better": better, "worse": worse, "column": "GE"}
        with pytest.raises(UsageError, match=r"claim 1: the seeds of .* are not paired"):
            read(again, other, claims=[claim])
    best = {"best": "a", "columns": ["GE"]}
    published = {key: {"GE": {"value": 1, "source": "s"}} for key in ("a", "b")}
    with pytest.raises(UsageError, match="not paired"):
        read(again, other, claims=[best], published=published)


TABLE = """\
title: t
source: s
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: a, label: a, method: ddspo}
  - {key: n, label: n, method: ddspo, pairs: shuffled,
     %s}
columns:
  - {key: GE, label: g, evaluator: geneval, metric: overall, per_image: correct,
     higher_is_better: true, decimals: 4}
claims:
  - {better: a, worse: base, column: GE}
"""


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("control:", "control is empty; expected one of improves, null, probe, ceiling"),
        ("control: true", "does not say what the row must show"),
        ("control: null", "no columns"),
        ("control: null, columns: [FID]", "unknown column"),
    ],
)
def test_the_command_line_names_file_and_line(
    entry: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TABLE % entry)
    for words in (["show", "table", str(file)], ["plan", "--table", str(file)]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "mine.yaml:6: " in said and message in said


def test_null_written_out_is_the_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    for word in ("null", '"null"', "improves"):
        file.write_text(TABLE % f"control: {word}, columns: [GE]")
        assert load_table(str(file)).row("n").control == word.strip('"')
    assert main(["show", "table", str(file)]) == 0
    assert "must improve: GE" in capsys.readouterr().out


def test_every_shipped_control_says_what_it_shows() -> None:
    for name in table_names():
        assert all(row.control in ("", "improves", "null", "probe", "ceiling")
                   for row in load_table(name).rows)  # fmt: skip


def test_the_positive_control_of_table_1a_has_settings_of_its_own(tmp_path: Path) -> None:
    """Trained as the entry it names says, and n/a where a profile has no such entry."""
    rows = ["sft", "sft-truth", "sft-truth-small", "guidance-probe"]
    request = make_request("1a", rows=rows, columns=["GE"])
    graph = build_graph(request, Store(tmp_path))
    found = {
        cell.row: graph.graph[str(graph.graph[step].upstream["checkpoint"])]
        for cell in graph.cells
        for step in [graph.graph[str(cell.step)].upstream["images"]]
    }
    steps = {key: step.identity["train"]["steps"] for key, step in found.items()}
    assert steps["sft-truth"] == 1500 and steps["sft-truth-small"] == 60 and steps["sft"] == 180
    assert found["sft-truth"].identity["train"]["ema_decay"] == 0.995
    assert found["guidance-probe"].identity["method"]["config"]["scale"] == 2.0
    names = {key: step.name for key, step in found.items()}
    assert names["sft-truth"] == "tiny-sd-noisy.sft.truth.t0" != names["sft"]
    set_ = ["training.methods.sft-truth.train.steps=9"]
    changed = build_graph(make_request("1a", rows=rows[1:2], columns=["GE"], overrides=set_),
                          Store(tmp_path))  # fmt: skip
    assert [s.identity["train"]["steps"] for s in changed.graph if s.kind == "train"] == [9]


def test_a_profile_without_the_settings_does_not_measure_the_row(
    pure_profile: Path, tmp_path: Path
) -> None:
    request = make_request("1a", str(pure_profile), rows=["base", "sft-truth"], columns=["GE"])
    cells = {cell.row: cell for cell in build_graph(request, Store(tmp_path)).cells}
    assert cells["base"].step is not None and cells["sft-truth"].step is None
    assert "no settings 'sft-truth'" in cells["sft-truth"].reason
