from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.compare.pairing import Moved
from bench.compare.verdict import compare_tables
from bench.report.model import CellData, TableData
from bench.report.statistics import compute
from bench.report.stored import make_report, write_report
from bench.stats import CrossedEstimate, holm
from tests.report.tables import ROWS, mean_cell, set_cell, table


def of(found: tuple[Moved, ...], row: str, column: str) -> Moved:
    return next(m for m in found if (m.row, m.column) == (row, column))


def effect(moved: Moved) -> CrossedEstimate:
    assert moved.difference is not None and moved.difference.estimate is not None
    return moved.difference.estimate


def with_cells(data: TableData, cells: list[CellData]) -> TableData:
    return replace(data, cells=tuple(cells))


def shifted(data: TableData, row: str, by: float) -> TableData:
    """The table with a row's GE moved: every image by almost the same amount."""
    cells = []
    for cell in data.cells:
        if (cell.row, cell.column) == (row, "GE"):
            sign = 1 if (cell.training_seed or 0) % 2 else -1
            own = by + 0.001 * sign * (cell.training_seed or 1)
            values = tuple(
                replace(v, value=v.value + own + 0.02 * (-1) ** (place // 4))
                for place, v in enumerate(cell.values)
            )
            assert cell.estimate is not None
            estimate = replace(cell.estimate, value=cell.estimate.value + own)
            cell = replace(cell, values=values, estimate=estimate)
        cells.append(cell)
    return with_cells(data, cells)


def test_a_table_equals_itself() -> None:
    found = compare_tables(table(), table())
    assert [m.word for m in found] == ["equal"] * 6
    assert {effect(m).value for m in found} == {0.0}


def test_a_row_that_moved_is_named_and_the_others_are_not() -> None:
    found = compare_tables(table(), shifted(table(), "ddspo", -0.1))
    moved = of(found, "ddspo", "GE")
    assert (moved.word, moved.seeds, moved.is_worse) == ("worse", 3, True)
    assert moved.first is not None and moved.second is not None
    assert effect(moved).value == pytest.approx(moved.second - moved.first, abs=1e-12)
    assert {m.word for m in found if m is not moved} == {"equal"}


def test_the_second_less_the_first_so_turning_them_turns_the_sign() -> None:
    ours = of(compare_tables(table(), shifted(table(), "dpo", 0.1)), "dpo", "GE")
    theirs = of(compare_tables(shifted(table(), "dpo", 0.1), table()), "dpo", "GE")
    assert (ours.word, theirs.word) == ("better", "worse")
    assert ours.p == pytest.approx(theirs.p)
    assert effect(ours).value == pytest.approx(-effect(theirs).value)


def test_where_less_is_better_a_rise_is_worse() -> None:
    risen = [
        c
        if c.column != "FID"
        else set_cell(c.row, c.training_seed, 20.0 + 0.01 * (c.training_seed or 0))
        for c in table().cells
    ]
    found = compare_tables(table(), with_cells(table(), risen))
    assert of(found, "ddspo", "FID").word == "worse"


def test_the_error_term_is_that_of_claims_and_p_is_corrected_over_all() -> None:
    after = shifted(shifted(table(), "ddspo", 0.004), "dpo", 0.02)
    found = compare_tables(table(), after)
    tested = [m for m in found if m.p is not None]
    assert len(tested) == 2
    assert [m.corrected_p for m in tested] == holm([m.p for m in tested])
    # within one table `--against` asks what a claim asks
    data = table()
    claimed = compute(data).verdicts[0]  # ddspo better than dpo on GE
    moved = of(compare_tables(data, data, against="dpo"), "ddspo", "GE")
    assert effect(moved) == claimed.effect and moved.p == claimed.p


def few(provenance: dict[str, object] | None = None) -> tuple[TableData, TableData]:
    """One training seed a side; in the second table dpo's GE is lower by far more than noise."""
    before = table(seeds=(0,), claims=(), gain={"dpo": 0.4})
    worse = replace(mean_cell("dpo", 7, 0.1), training_seed=0)
    if provenance is not None:
        worse = replace(worse, provenance=provenance)
    place = ("dpo", "GE")
    cells = [worse if (c.row, c.column) == place else c for c in before.cells]
    return before, with_cells(before, cells)


def test_one_seed_a_side_differs_for_these_checkpoints_and_is_not_worse() -> None:
    moved = of(compare_tables(*few()), "dpo", "GE")
    assert (moved.word, moved.seeds) == ("differs for these checkpoints", 1)
    assert moved.lower is True and not moved.is_worse and moved.is_undecided


@pytest.mark.parametrize(
    "known",
    [
        {"artifacts": {"scores": "s", "images": "images/one"}},
        {"artifacts": {"scores": "s", "images": "images/a", "checkpoint": "train/one"}},
        {"artifacts": {"scores": "s", "images": "images/a"}, "checkpoint": "abc"},
    ],
    ids=["images", "training", "content"],
)
def test_provenance_shows_that_a_checkpoint_is_the_same(known: dict[str, object]) -> None:
    before, after = few(known)
    cells = [
        replace(c, provenance=known) if (c.row, c.column) == ("dpo", "GE") else c
        for c in before.cells
    ]
    moved = of(compare_tables(with_cells(before, cells), after), "dpo", "GE")
    assert moved.same_checkpoint and moved.is_worse and not moved.is_undecided
    assert moved.word == "differs for these checkpoints"


def test_a_row_of_one_table_is_listed() -> None:
    less = replace(table(), rows=table().rows[:2], columns=table().columns[:1])
    found = compare_tables(table(), less)
    alone = {(m.row, m.column): m.reason for m in found if m.word == "not compared"}
    assert alone == {
        ("base", "FID"): "only in the first table",
        ("dpo", "FID"): "only in the first table",
        ("ddspo", "GE"): "only in the first table",
        ("ddspo", "FID"): "only in the first table",
    }
    turned = compare_tables(less, table())
    assert {m.reason for m in turned if m.is_alone} == {"only in the second table"}


def test_other_noise_is_not_compared() -> None:
    noisy = with_cells(table(), [replace(c, noise_seed=4) for c in table().cells])
    moved = of(compare_tables(table(), noisy), "dpo", "GE")
    assert moved.word == "not compared" and "noise that both tables have" in moved.reason


def test_only_training_seeds_of_both_sides_are_compared() -> None:
    found = compare_tables(table(seeds=(0, 1, 2)), table(seeds=(1, 2, 3)))
    assert {m.word for m in found} == {"equal"}
    apart = compare_tables(table(seeds=(0,)), table(seeds=(5,)))
    assert of(apart, "dpo", "GE").word == "not compared"
    assert "no training seed" in of(apart, "dpo", "GE").reason


def test_unlike_protocols_are_named_and_not_compared() -> None:
    other = [
        replace(c, protocol={**c.protocol, "images_per_prompt": 4}) if c.column == "GE" else c
        for c in table().cells
    ]
    moved = of(compare_tables(table(), with_cells(table(), other)), "dpo", "GE")
    assert moved.word == "not compared" and moved.reason == "unlike protocols: images_per_prompt"


def test_a_row_that_is_sampled_otherwise_is_not_compared_with_itself() -> None:
    rows = tuple({**r, "sampling": {"cfg_scale": 5.0}} if r["key"] == "dpo" else r for r in ROWS)
    found = compare_tables(table(), replace(table(), rows=rows))
    moved = of(found, "dpo", "GE")
    assert moved.word == "not compared"
    assert moved.reason == "the row is sampled otherwise: cfg_scale"
    assert of(found, "ddspo", "GE").word == "equal"


def test_against_a_row_compares_every_other_with_it() -> None:
    data = table()
    found = compare_tables(data, data, against="dpo")
    assert {m.row for m in found} == {"base", "ddspo"}
    turned = compare_tables(data, data, against="base")
    one, other = of(found, "base", "GE"), of(turned, "dpo", "GE")
    assert effect(one).value == pytest.approx(-effect(other).value)


def test_nothing_in_common_is_a_usage_error() -> None:
    rows = ({**table().rows[0], "key": "another"},)
    with pytest.raises(UsageError, match="no row and column in common"):
        compare_tables(table(), replace(table(), rows=rows))
    with pytest.raises(UsageError, match=r"unknown row 'dppo'\. Did you mean 'dpo'"):
        compare_tables(table(), table(), against="dppo")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = table(), shifted(table(), "ddspo", -0.1)
    for name, data in (("a", before), ("b", after)):
        write_report(make_report(data, [name]), tmp_path / name)
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["compare", *folders, "--fail-if-worse"]) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    line = next(li for li in out.splitlines() if li.startswith("ddspo  GE"))
    assert line.endswith("worse")
    assert main(["compare", *folders, "--rows", "dpo", "--fail-if-worse"]) == 0
    capsys.readouterr()
    assert main(["compare", *folders, "--cols", "GE", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["word"] for m in found] == ["equal", "equal", "worse"]
    assert main(["compare", *folders, "--cols", "GEE"]) == 2


def written(folder: Path, *tables: TableData) -> list[str]:
    for number, data in enumerate(tables):
        write_report(make_report(data, [str(number)]), folder / str(number))
    return [str(folder / str(number)) for number in range(len(tables))]


def test_fail_if_worse_needs_seeds_or_the_same_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = written(tmp_path, *few())
    assert main(["compare", *folders]) == 0
    assert "differs for these checkpoints" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", *folders, "--fail-if-worse"]) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "--fail-if-worse cannot say of dpo/GE: fewer than three training seeds" in out
    assert main(["compare", *folders, "--cols", "FID", "--fail-if-worse"]) == 0  # equal
    known: dict[str, object] = {"artifacts": {"images": "images/one"}}
    before, after = few(known)
    cells = [replace(c, provenance=known) for c in before.cells]
    folders = written(tmp_path / "same", with_cells(before, cells), after)
    assert main(["compare", *folders, "--fail-if-worse"]) == 1


def test_a_partial_table_against_a_whole_one_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = [replace(c, protocol={**c.protocol, "limit": 6}) for c in table().cells]
    folders = written(tmp_path, table(), replace(with_cells(table(), cut), limit=6))
    for more in ([], ["--fail-if-worse"]):
        assert main(["compare", *folders, *more]) == 2
        out = " ".join(capsys.readouterr().out.split())
        assert (
            "not compared: base, dpo, ddspo: unlike prompts: the first table has all prompts, the "
            "second about 6 a suite (--limit 6); run both with the same --limit, or without" in out
        )
        assert out.endswith("nothing could be compared")
    # one column that can be compared is enough, but where anything worse is to be found
    mixed = [c if c.column == "GE" else d for c, d in zip(table().cells, cut, strict=True)]
    folders = written(tmp_path / "mixed", table(), with_cells(table(), mixed))
    assert main(["compare", *folders]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "not compared: base/FID, dpo/FID, ddspo/FID: unlike prompts" in out
    assert main(["compare", *folders, "--fail-if-worse"]) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert "cannot say of base/FID, dpo/FID, ddspo/FID: not compared" in out
    assert main(["compare", *folders, "--cols", "GE", "--fail-if-worse"]) == 0


def test_what_neither_table_measured_is_nothing_to_fail_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(data: TableData, *places: str) -> TableData:
        cells = [
            replace(c, state="n/a", reason="no back-end", estimate=None, values=(), protocol={})
            if c.column == "FID" and c.row in places
            else c
            for c in data.cells
        ]
        return with_cells(data, cells)

    every = ("base", "dpo", "ddspo")
    folders = written(tmp_path / "none", without(table(), *every), without(table(), *every))
    assert main(["compare", *folders, "--fail-if-worse"]) == 0
    assert "in neither table: no back-end" in " ".join(capsys.readouterr().out.split())
    folders = written(tmp_path / "lost", table(), without(table(), "dpo"))
    assert main(["compare", *folders, "--fail-if-worse"]) == 2
    assert "cannot say of dpo/FID: not compared" in " ".join(capsys.readouterr().out.split())


def test_columns_of_one_key_that_mean_something_else_are_not_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [{**c, "over": "images"} if c["key"] == "GE" else c for c in table().columns]
    folders = written(tmp_path, table(), replace(table(), columns=tuple(other)))
    assert main(["compare", *folders]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "not compared: base/GE, dpo/GE, ddspo/GE: unlike columns: over" in out
