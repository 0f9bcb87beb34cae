"""Win-rate columns: whom a row is compared with, what a table says of it, and what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.api.errors import UsageError
from bench.report.model import CellData, ImageValue, TableData
from bench.report.statistics import compute
from bench.report.wins import with_win_rates
from bench.spec.table import ColumnSpec, read_table
from tests.report.tables import COLUMNS, PROTOCOL, ROWS, table

SCORES = {
    ("base", None): [1.0, 2.0, 3.0, 4.0],
    ("dpo", 0): [2.0, 2.0, 0.0, 5.0],  # win, tie, loss, win
    ("dpo", 1): [2.0, 3.0, 4.0, 4.0],  # win, win, win, tie
}
COLUMN = ColumnSpec(
    key="WR",
    label="win rate",
    evaluator="pickscore",
    metric="win-rate",
    per_image="score",
    against="base",
    higher_is_better=True,
    decimals=4,
)


def cell(row: str, seed: int | None, scores: list[float] | None = None) -> CellData:
    values = tuple(
        ImageValue(prompt_id=f"p{i // 2}", ordinal=i % 2, tag="ab"[i // 2], value=score)
        for i, score in enumerate(SCORES[row, seed] if scores is None else scores)
    )
    return CellData(
        row=row, column="WR", training_seed=seed, noise_seed=0, state="measured",
        protocol=PROTOCOL, values=values,
    )  # fmt: skip


def decided(*cells: CellData, column: ColumnSpec = COLUMN, higher: bool = True) -> list[CellData]:
    return list(with_win_rates(cells, {"WR": column}, {"WR": higher}))


def every() -> list[CellData]:
    return decided(*(cell(row, seed) for row, seed in SCORES))


def rate(found: CellData) -> float:
    assert found.state == "measured" and found.estimate is not None, found.reason
    return found.estimate.value


def test_rates_are_those_counted_by_hand() -> None:
    base, first, second = every()
    assert [v.value for v in first.values] == [1.0, 0.5, 0.0, 1.0]
    assert rate(base) == 0.5 and rate(first) == 0.625 and rate(second) == 0.875
    low = decided(cell("base", None), cell("dpo", 0), higher=False)[1]
    assert rate(low) == 0.375


def test_a_trained_row_meets_its_own_seed_and_an_untrained_one_each() -> None:
    column = replace(COLUMN, against="dpo")
    cells = decided(*(cell(row, seed) for row, seed in SCORES), column=column)
    # the base's rate changes with what its opponent was trained on: a cell for each seed
    assert [(c.row, c.training_seed, rate(c)) for c in cells[:2]] == [
        ("base", 0, 0.375),
        ("base", 1, 0.125),
    ]
    assert rate(cells[2]) == rate(cells[3]) == 0.5
    ddspo = replace(cell("dpo", 1), row="ddspo")
    assert rate(decided(cell("dpo", 0), cell("dpo", 1), ddspo, column=column)[2]) == 0.5


def test_what_is_missing_is_said() -> None:
    alone = decided(cell("dpo", 0))[0]
    assert alone.state == "n/a" and "row base" in alone.reason and not alone.values
    failed = replace(cell("base", None), state="failed", reason="out of memory")
    found = decided(failed, cell("dpo", 0))
    assert [c.state for c in found] == ["failed", "failed"] and "out of memory" in found[1].reason
    short = decided(cell("base", None), cell("dpo", 0, [1.0, 2.0, 3.0]))[1]
    assert short.state == "failed" and "only in the second ['p1/1']" in short.reason
    assert short.estimate is None and not short.values


def test_a_table_has_intervals_differences_and_verdicts_of_it() -> None:
    cells = every()
    head = {**COLUMNS[0], "key": "WR", "metric": "win-rate", "against": "base"}
    claim = {"better": "dpo", "worse": "base", "column": "WR", "circular": False}
    data: TableData = table(rows=ROWS[:2], columns=(head,), cells=tuple(cells), claims=(claim,))
    found = compute(data)
    value = found.value("dpo", "WR")
    assert value.estimate is not None and value.estimate.value == pytest.approx(0.75)
    assert value.by_seed == {"0": 0.625, "1": 0.875} and value.estimate.n_seeds == 2
    difference = found.difference("dpo", "WR")
    assert difference.estimate is not None and difference.estimate.value == pytest.approx(0.25)
    assert found.verdicts[0].effect is not None
    assert found.verdicts[0].effect.value == pytest.approx(0.25)


def test_a_row_meets_its_opponent_in_equal_noise() -> None:
    cells = [
        replace(cell(row, seed), noise_seed=noise)
        for row, seed, noise in (("base", None, 0), ("base", None, 1), ("dpo", 0, 0), ("dpo", 1, 1))
    ]
    found = decided(*cells)
    assert [rate(c) for c in found] == [0.5, 0.5, 0.625, 0.875]
    apart = decided(*cells[1:])
    assert [c.state for c in apart] == ["measured", "n/a", "measured"]
    assert "no cell of equal seed and noise" in apart[1].reason
    across = with_win_rates(cells[1:], {"WR": COLUMN}, {"WR": True}, other_noise=["dpo"])
    assert [rate(c) for c in across] == [0.5, 0.625, 0.875]


def spec(**changes: object) -> None:
    column = {
        "key": "WR",
        "label": "w",
        "evaluator": "pickscore",
        "metric": "win-rate",
        "per_image": "score",
        "against": "base",
        "higher_is_better": True,
        "decimals": 2,
        **changes,
    }
    rows = [{"key": "base", "label": "base", "checkpoint": "base"}]
    read_table("t", {"title": "t", "source": "s", "rows": rows, "columns": [column]})


def test_a_column_that_makes_no_sense_is_refused() -> None:
    spec()
    for changes, said in (
        ({"against": None}, "names the row it is against"),
        ({"metric": "raw/partiprompts"}, "names the row it is against"),
        ({"per_image": None}, "per_image"),
        ({"higher_is_better": False}, "higher_is_better"),
        ({"against": "bass"}, "base"),
    ):
        with pytest.raises(UsageError, match=said):
            spec(**changes)
