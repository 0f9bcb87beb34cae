from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.report.comparison import Moved, compare_tables
from bench.report.model import CellData, TableData
from bench.report.stored import make_report, write_report
from bench.stats import holm, paired_p_value
from tests.report.tables import mean_cell, set_cell, table


def of(found: tuple[Moved, ...], row: str, column: str) -> Moved:
    return next(m for m in found if (m.row, m.column) == (row, column))


def with_cells(data: TableData, cells: list[CellData]) -> TableData:
    return replace(data, cells=tuple(cells))


def shifted(data: TableData, row: str, by: float) -> TableData:
    """The table with every image of a row's GE moved by almost the same amount."""
    cells = []
    for cell in data.cells:
        if (cell.row, cell.column) == (row, "GE"):
            sign = 1 if (cell.training_seed or 0) % 2 else -1
            own = by + 0.001 * sign * (cell.training_seed or 1)
            values = tuple(replace(v, value=v.value + own) for v in cell.values)
            assert cell.estimate is not None
            estimate = replace(cell.estimate, value=cell.estimate.value + own)
            cell = replace(cell, values=values, estimate=estimate)
        cells.append(cell)
    return with_cells(data, cells)


def test_a_table_equals_itself() -> None:
    found = compare_tables(table(), table())
    assert [m.word for m in found] == ["equal"] * 6
    assert all(m.difference is not None and m.difference.given is not None for m in found)
    assert {m.difference.given.value for m in found if m.difference and m.difference.given} == {0.0}


def test_a_row_that_moved_is_named_and_the_others_are_not() -> None:
    found = compare_tables(table(), shifted(table(), "ddspo", -0.1))
    moved = of(found, "ddspo", "GE")
    assert (moved.word, moved.basis) == ("worse", "training seeds")
    assert moved.first is not None and moved.second is not None and moved.difference is not None
    assert moved.difference.seeds is not None
    assert moved.difference.seeds.value == pytest.approx(moved.second - moved.first, abs=1e-12)
    assert {m.word for m in found if m is not moved} == {"equal"}


def test_the_second_less_the_first_so_turning_them_turns_the_sign() -> None:
    ours = of(compare_tables(table(), shifted(table(), "dpo", 0.1)), "dpo", "GE")
    theirs = of(compare_tables(shifted(table(), "dpo", 0.1), table()), "dpo", "GE")
    assert (ours.word, theirs.word) == ("better", "worse")
    assert ours.p == pytest.approx(theirs.p)
    assert ours.difference is not None and theirs.difference is not None
    assert ours.difference.seeds is not None and theirs.difference.seeds is not None
    assert ours.difference.seeds.value == pytest.approx(-theirs.difference.seeds.value)


def test_where_less_is_better_a_rise_is_worse() -> None:
    risen = [
        c
        if c.column != "FID"
        else set_cell(c.row, c.training_seed, 20.0 + 0.01 * (c.training_seed or 0))
        for c in table().cells
    ]
    found = compare_tables(table(), with_cells(table(), risen))
    assert of(found, "ddspo", "FID").word == "worse"


def test_p_values_are_the_paired_t_tests_and_corrected_over_all() -> None:
    after = shifted(shifted(table(), "ddspo", 0.004), "dpo", 0.02)
    found = compare_tables(table(), after)
    tested = [m for m in found if m.p is not None]
    assert len(tested) == 2
    by_seed = {
        row: [
            b.estimate.value - a.estimate.value
            for a, b in zip(table().of(row, "GE"), after.of(row, "GE"), strict=True)
            if a.estimate is not None and b.estimate is not None
        ]
        for row in ("dpo", "ddspo")
    }
    for moved in tested:
        assert moved.p == pytest.approx(paired_p_value(by_seed[moved.row]), rel=1e-9)
    assert [m.corrected_p for m in tested] == holm([m.p for m in tested])


def test_with_few_seeds_the_word_rests_on_the_images() -> None:
    before, after = table(seeds=(0,)), shifted(table(seeds=(0,)), "dpo", 0.1)
    noisy = [
        c
        if (c.row, c.column) != ("dpo", "GE")
        else replace(mean_cell("dpo", 7, 0.1), training_seed=0)
        for c in after.cells
    ]
    moved = of(compare_tables(before, with_cells(after, noisy)), "dpo", "GE")
    assert moved.basis == "images" and moved.p is not None


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


def test_against_a_row_compares_every_other_with_it() -> None:
    data = table()
    found = compare_tables(data, data, against="dpo")
    assert {m.row for m in found} == {"base", "ddspo"}
    turned = compare_tables(data, data, against="base")
    one, other = of(found, "base", "GE").difference, of(turned, "dpo", "GE").difference
    assert one is not None and other is not None and one.given and other.given
    assert one.given.value == pytest.approx(-other.given.value)


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
    assert line.endswith("worse*")
    assert main(["compare", *folders, "--rows", "dpo", "--fail-if-worse"]) == 0
    capsys.readouterr()
    assert main(["compare", *folders, "--cols", "GE", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["word"] for m in found] == ["equal", "equal", "worse"]
    assert main(["compare", *folders, "--cols", "GEE"]) == 2
