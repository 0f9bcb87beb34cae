"""A leaderboard: rows by their effect against the base, task by task, a new row among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.report.collect import empty_table
from bench.report.leaderboard_words import standings
from bench.report.model import TableData
from bench.report.statistics import compute
from bench.report.stored import make_report, read_report, write_report
from bench.spec.request import make_request
from bench.spec.table import load_table, read_table
from tests.report.tables import TAGS, mean_cell, row, table
from tests.steps.test_spec import MINIMAL

ROOT = Path(__file__).parents[2]


def ranked(**gains: float) -> TableData:
    """A leaderboard by GE of three rows against the base."""
    data = table(gain=gains)
    cells = [mean_cell("new", seed, gains["new"] + 0.001 * seed) for seed in range(3)]
    claims = tuple(
        {"better": key, "worse": "base", "column": "GE", "circular": False}
        for key in ("dpo", "ddspo", "new")
    )
    return replace(
        data,
        rows=(*data.rows, row("new"), row("null", control="null", columns=[])),
        cells=(*data.cells, *cells),
        claims=claims,
        leaderboard="GE",
    )


def test_rows_stand_in_the_order_of_their_effect() -> None:
    data = ranked(dpo=0.05, ddspo=0.1, new=0.2)
    found = standings(data, compute(data))
    assert [(s.rank, s.label) for s in found] == [("1", "new"), ("2", "ddspo"), ("3", "dpo")]
    assert [s.verdict for s in found] == ["supported"] * 3
    data = ranked(dpo=0.05, ddspo=0.1, new=0.07)
    assert [s.label for s in standings(data, compute(data))] == ["ddspo", "new", "dpo"]


def test_where_lower_is_better_the_order_turns_round_and_what_was_not_measured_is_last() -> None:
    data = replace(ranked(dpo=0.05, ddspo=0.1, new=0.2), leaderboard="FID", claims=())
    found = standings(data, compute(data))  # the better GE, the lower FID; `new` has none
    assert [(s.rank, s.label) for s in found] == [("1", "ddspo"), ("2", "dpo"), ("-", "new")]
    assert found[2].effect == "n/a" and {s.verdict for s in found} == {"-"}


def test_each_task_is_broken_down() -> None:
    data = ranked(dpo=0.05, ddspo=0.1, new=0.2)
    statistics = compute(data)
    assert {t.task for t in statistics.tasks} == set(TAGS)
    whole = statistics.difference("new", "GE").estimate
    parts = [t.effect for t in statistics.tasks if t.row == "new"]
    assert whole is not None and len(parts) == 2
    assert sum(p.value for p in parts) / 2 == pytest.approx(whole.value)
    assert all(p.n_seeds == 3 and p.stderr for p in parts)
    (best, *_) = standings(data, statistics)
    assert len(best.tasks) == 2 and all(part.startswith("+0.") for part in best.tasks)


@pytest.mark.parametrize("form", ["md", "terminal", "html"])
def test_every_form_shows_it_first(form: str) -> None:
    text = make_report(ranked(dpo=0.05, ddspo=0.1, new=0.2), []).render(form)
    assert "Leaderboard: GE" in text and "Leaderboard" not in make_report(table(), []).render(form)
    if form != "terminal":
        assert text.index("Leaderboard") < text.index("Measured, with 95 %")
    else:
        assert max(map(len, text.splitlines())) <= 80
    assert "better than base" in text


def test_stored_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    report = make_report(ranked(dpo=0.05, ddspo=0.1, new=0.2), ["a"])
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report


def test_a_new_method_s_row_is_claimed_to_be_better_with_one_command() -> None:
    """`bench run --table methods --method examples/my_method.py:IPO`, and `--row` likewise."""
    method = f"{ROOT / 'examples' / 'my_method.py'}:IPO"
    request = make_request("methods", methods=[method], weights=["mine=some/where"])
    data = empty_table(request, ())
    claims = {(c["better"], c["worse"], c["column"]) for c in data.claims}
    assert {("ipo", "base", "GE"), ("mine", "base", "GE"), ("ddspo", "base", "GE")} <= claims
    assert ("base", "base", "GE") not in claims and data.leaderboard == "GE"
    assert len(claims) == len(data.rows) - 1
    some = empty_table(make_request("methods", rows=["base", "sft"], columns=["CB"]), ())
    assert some.leaderboard is None and some.claims == ()


def test_claims_of_the_file_are_not_made_twice() -> None:
    rows = [*MINIMAL["rows"], {"key": "a", "label": "a", "method": "a"}]  # type: ignore[misc]
    stated = [{"better": "a", "worse": "base", "column": "GE", "planned": True}]
    found = read_table("t", {**MINIMAL, "rows": rows, "claims": stated, "leaderboard": "GE"})
    assert [c.planned for c in found.all_claims] == [True]
    assert load_table("methods").claims == () and len(load_table("methods").all_claims) > 15


@pytest.mark.parametrize("seed", [0, 1])
def test_a_row_of_another_noise_is_not_claimed_to_be_better(seed: int) -> None:
    more = {"key": "a", "label": "a", "method": "a"}, {"key": "b", "label": "b", "method": "b"}
    rows = [*MINIMAL["rows"], more[0], {**more[1], "sampling_seed": seed}]  # type: ignore[misc]
    found = read_table("t", {**MINIMAL, "rows": rows, "leaderboard": "GE"})
    assert [claim.better for claim in found.all_claims] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaderboard": "GF"}, "unknown column.*'GE'"),
        ({"leaderboard": "GE", "rows": [{"key": "a", "label": "a", "method": "a"}]}, "no base"),
    ],
)
def test_a_leaderboard_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_table("t", {**MINIMAL, **change})
