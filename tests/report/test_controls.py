"""Controls in a table: what rests on them, what a failure withholds, what was not run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import ProtocolError
from bench.report.collect import empty_table
from bench.report.controls import concerned_rows, drifts
from bench.report.elsewhere import with_published
from bench.report.model import TableData
from bench.report.recomputed import disagreements
from bench.report.sealed import open_table
from bench.report.statistics import compute
from bench.report.stored import make_report, read_report, read_table, write_report
from bench.spec.request import make_request
from tests.report.tables import mean_cell, row, set_cell, table

TRUTH = row("truth", control="improves", columns=["GE"])
DPO_NULL = row("dpo-null", method="dpo", pairs="shuffled", control="null", columns=["GE"])
DDSPO_NULL = row("ddspo-null", method="ddspo", pairs="shuffled", control="null", columns=["GE"])
AGAIN = row("again", checkpoint="base", method=None, sampling_seed=9001, control="null",
            columns=["GE"])  # fmt: skip
GAINS = {"truth": 0.2, "dpo-null": -0.002, "ddspo-null": -0.002}


def controlled(gains: Mapping[str, float] | None = None, seeds: int = 3) -> TableData:
    """The synthetic table with four controls; `gains` changes what they gain in GE."""
    found = {**GAINS, **(gains or {})}
    data = table(seeds=tuple(range(seeds)))
    cells = list(data.cells)
    for key, gain in found.items():
        for seed in range(seeds):
            cells.append(mean_cell(key, seed, gain + 0.0005 * seed))
            cells.append(set_cell(key, seed, 10.0 - gain + 0.01 * seed))
    cells += [mean_cell("again", None, 0.0, noise_seed=9001), set_cell("again", None, 10.0)]
    rows = (*data.rows, TRUTH, DPO_NULL, DDSPO_NULL, AGAIN)
    wide = tuple({**c, "range": [-1.0, 1.0]} if c["key"] == "GE" else c for c in data.columns)
    return replace(data, rows=rows, columns=wide, cells=tuple(cells))


def words(data: TableData) -> list[str]:
    return [verdict.word for verdict in compute(data).verdicts]


def results(data: TableData) -> dict[str, str]:
    return {result.row: result.word for result in compute(data).controls}


def test_controls_that_pass_leave_the_verdicts_as_they_are() -> None:
    data = controlled()
    assert set(results(data).values()) == {"passed"} and len(results(data)) == 4
    assert words(data) == words(table()) == ["supported", "supported", "supported"]
    assert all(not verdict.controls for verdict in compute(data).verdicts)


def test_a_null_that_improves_withholds_the_verdicts_of_its_method() -> None:
    data = controlled({"dpo-null": 0.1})
    assert results(data)["dpo-null"] == "failed" and results(data)["ddspo-null"] == "passed"
    found = compute(data).verdicts  # ddspo > dpo, dpo > base on GE; ddspo > dpo on FID
    assert [v.word for v in found] == ["withheld", "withheld", "supported"]
    assert "control dpo-null failed: better, where nothing should be" in found[0].reason
    assert "without that control it would read supported" in found[0].reason
    assert found[0].p is not None and found[0].effect is not None
    other = controlled({"ddspo-null": 0.1})
    assert words(other) == ["withheld", "supported", "supported"]  # dpo > base stands


@pytest.mark.parametrize("gain", [0.0, -0.1])
def test_where_what_must_improve_does_not_a_whole_column_is_withheld(gain: float) -> None:
    found = compute(controlled({"truth": gain})).verdicts
    assert [v.word for v in found] == ["withheld", "withheld", "supported"]
    assert "control truth failed: not found to be better" in found[0].reason


def test_a_against_a_concerns_all() -> None:
    data = controlled()
    cells = [
        replace(mean_cell("again", None, 0.15), noise_seed=9001)
        if (c.row, c.column) == ("again", "GE")
        else c
        for c in data.cells
    ]
    data = replace(data, cells=tuple(cells))
    assert results(data)["again"] == "failed"
    assert words(data) == ["withheld", "withheld", "supported"]


def test_whom_a_control_concerns() -> None:
    more = row("later", method="sft", start="dpo"), row("last", method="sft", start="later")
    rows = (*controlled().rows, *more)
    assert concerned_rows(TRUTH, rows) is None and concerned_rows(AGAIN, rows) is None
    assert concerned_rows(DPO_NULL, rows) == {"dpo", "dpo-null", "later", "last"}
    assert concerned_rows({**TRUTH, "concerns": ["ddspo"]}, rows) == {"ddspo"}
    only = {**TRUTH, "concerns": ["ddspo"]}
    data = controlled({"truth": 0.0})
    data = replace(data, rows=tuple(only if r["key"] == "truth" else r for r in data.rows))
    assert words(data) == ["withheld", "supported", "supported"]


def test_the_order_of_planned_claims_goes_on_past_a_withheld_one() -> None:
    data = controlled({"dpo-null": 0.1})
    order = [("dpo", "base"), ("ddspo", "base")]
    claims = tuple(
        {"better": a, "worse": b, "column": "GE", "circular": False, "planned": True}
        for a, b in order
    )
    assert words(replace(data, claims=claims)) == ["withheld", "supported"]


def test_undecided_controls_are_said_beside_the_verdict() -> None:
    data = controlled(seeds=2)
    found = compute(data)
    assert {r.word for r in found.controls if r.row != "again"} == {"undecided"}
    assert (
        "truth is undecided (2 paired training seeds; a test needs 3)" in found.verdicts[0].controls
    )
    failed = [
        replace(c, state="failed", estimate=None, values=(), reason="it broke")
        if c.row == "truth" else c
        for c in controlled().cells
    ]  # fmt: skip
    verdict = compute(replace(controlled(), cells=tuple(failed))).verdicts[1]
    assert verdict.word == "supported"
    assert verdict.controls == ("truth is undecided (truth has no GE: it broke)",)


def test_what_was_not_run_is_said_beside_the_verdict_with_what_was_published() -> None:
    published = {**DPO_NULL, "found": {"GE": "passed"}}
    data = replace(table(), unrun=(TRUTH, published, DDSPO_NULL))
    report = make_report(data, [])
    found = [verdict.controls for verdict in report.statistics.verdicts]
    assert found[1] == ("truth was not run", "dpo-null was not run (published table: passed)")
    assert "ddspo-null was not run" in found[0] and found[2] == ()
    for form in ("md", "terminal", "html"):
        flat = " ".join(report.render(form).split())
        assert "truth was not run" in flat
        assert "Controls that were not run: truth; dpo-null (published table: passed on GE)" in flat


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("overrides", ["training.common.steps=7"]),
        ("checkpoint", "another"),
        ("noise", "per-seed"),
        ("name", "another"),
    ],
)
def test_a_control_is_cited_of_a_table_that_was_made_alike_alone(
    tmp_path: Path, key: str, value: object
) -> None:
    write_report(make_report(controlled(), ["a"]), tmp_path / "table-1a")
    data = table()
    ((cited),) = with_published(data, [DPO_NULL], tmp_path)
    assert cited["found"] == {"GE": "passed"}
    other = replace(data, profile={**data.profile, key: value})
    assert with_published(other, [DPO_NULL], tmp_path) == (DPO_NULL,)


def test_the_drift_of_a_null_is_printed(tmp_path: Path) -> None:
    data = controlled({"dpo-null": -0.1})
    assert results(data)["dpo-null"] == "passed"  # it must not improve, and does not
    report = make_report(data, ["a"])
    assert ("dpo-null", "GE") in {(d.row, d.column) for d in report.statistics.drifts}
    assert "dpo-null: drift, for the worse: GE -0.10" in report.render("md")
    write_report(report, tmp_path)
    for form in ("md", "terminal", "html"):  # no per-image value is needed to lay a table out
        assert read_table(tmp_path).render(form) == report.render(form)
    assert not any("rendered" in said for said in disagreements(open_table(tmp_path)))
    assert not {d.row for d in drifts(controlled())} & {"truth", "dpo"}


@pytest.mark.parametrize("form", ["md", "terminal", "html"])
def test_every_form_says_what_failed(form: str) -> None:
    probe = row("probe", control="probe")
    data = controlled({"dpo-null": 0.1})
    cells = [replace(c, row="probe") for c in data.cells if c.row == "truth"]
    data = replace(data, rows=(*data.rows, probe), cells=(*data.cells, *cells))
    flat = " ".join(make_report(data, []).render(form).split())
    assert "Controls" in flat and "withheld" in flat
    assert "one-sided corrected p" in flat and "neither passes nor fails" in flat


def test_both_error_rates_stand_under_the_table() -> None:
    data = table()
    note = make_report(data, []).render("md")
    assert "one family, error rate 0.05: all 3 claims, Holm-corrected" in note
    planned = ({**data.claims[0], "planned": True}, *data.claims[1:])
    note = make_report(replace(data, claims=planned), []).render("md")
    assert "2 families, error rate 0.05 each: the 1 planned, in their order" in note
    assert "the 2 others, Holm-corrected" in note
    controls = make_report(controlled(), []).render("md")
    assert "one family of 4 tests, Holm-corrected, error rate 0.05" in controls


def test_stored_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    data = replace(controlled({"dpo-null": 0.1}), unrun=(row("x", control="null", columns=["GE"]),))
    report = make_report(data, ["a"])
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    plain = json.loads(make_report(table(), []).render("json"))
    assert "unrun" not in plain and "controls" not in plain["statistics"]
    assert all("controls" not in verdict for verdict in plain["statistics"]["verdicts"])


def test_what_a_control_must_show_is_part_of_what_statistics_depend_on() -> None:
    data = controlled()
    other = tuple({**r, "concerns": ["ddspo"]} if r["key"] == "truth" else r for r in data.rows)
    found = {make_report(d, []).inputs_sha256 for d in (data, replace(data, rows=other))}
    assert len(found) == 2


def test_published_controls_count_under_the_same_protocol_alone(tmp_path: Path) -> None:
    report = make_report(controlled({"dpo-null": 0.1}), [])
    write_report(report, tmp_path / "table-1a")
    rows: list[Mapping[str, Any]] = [TRUTH, DPO_NULL, row("new", control="null", columns=["GE"])]
    found = with_published(table(), rows, tmp_path)
    assert [r.get("found") for r in found] == [{"GE": "passed"}, {"GE": "failed"}, None]
    other = {**table().profile, "checkpoint": "another"}
    unlike = replace(table(), profile=other)
    assert all("found" not in r for r in with_published(unlike, rows, tmp_path))
    cells = [replace(c, protocol={**c.protocol, "images_per_prompt": 3}) for c in table().cells]
    unlike = replace(table(), cells=tuple(cells))
    assert all("found" not in r for r in with_published(unlike, rows, tmp_path))


def test_a_request_without_controls_says_which_it_leaves_out() -> None:
    """Of Table 1a, and only those that are tested; `--controls` leaves none out."""
    left_out = {r["key"] for r in empty_table(make_request("1a"), ()).unrun}
    assert {"sft-truth", "sft-truth-small", "base-again", "ddspo-exchanged"} <= left_out
    assert not left_out & {"ceiling", "guidance-probe", "sft"}
    assert empty_table(make_request("1a", controls=True), ()).unrun == ()


def test_a_control_of_fewer_seeds_is_compared_in_those_alone() -> None:
    """Noise of its own for each of five seeds; the nulls have three, and say so."""
    data = controlled(seeds=5)
    cells = [
        replace(cell, training_seed=seed, noise_seed=noise)
        for cell in data.cells
        for seed, noise in (
            [(None, n) for n in range(5)]
            if cell.row == "base"
            else [(cell.training_seed, cell.training_seed or 0)]
        )
        if "null" not in cell.row or (cell.training_seed or 0) < 3
    ]
    rows = tuple({**r, "seeds": 3} if "null" in r["key"] else r for r in data.rows)
    found = compute(replace(data, rows=rows, cells=tuple(cells)))
    seeds = {r.row: r.effect.n_seeds for r in found.controls if r.effect is not None}
    assert seeds == {"truth": 5, "dpo-null": 3, "ddspo-null": 3, "again": 1}
    assert {r.word for r in found.controls} == {"passed"}
    assert [v.n_seeds for v in found.verdicts] == [5, 5, 5]
    difference = found.difference("dpo-null", "GE").estimate
    assert difference is not None and difference.n_seeds == 3
    with pytest.raises(ProtocolError, match="no partner"):  # nothing says that these are enough
        compute(replace(data, cells=tuple(cells)))
