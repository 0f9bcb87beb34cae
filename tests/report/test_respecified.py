"""A stored table with what its file says now; what was measured is not touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.harness.requests import request_for
from bench.report.collect import empty_table
from bench.report.respecified import respecified
from bench.report.stored import make_report, read_report, write_report
from tests.report.tables import PROTOCOL, mean_cell, table

SHIFTS = (("base", 0.1), ("theirs", 0.3))
OLD = Path(__file__).parent / "format-1"


def test_claims_notes_and_published_values_are_those_of_now() -> None:
    stored = table(facts=())
    rows = tuple({**r, "note": "of now", "label": "another"} for r in stored.rows)
    now = replace(stored, cells=(), rows=rows, claims=stored.claims[:1], published={}, title="now")
    found = respecified(stored, now)
    assert (found.rows, found.claims, found.published) == (rows, stored.claims[:1], {})
    assert found.title == "now" and found.cells == stored.cells


def test_what_is_measured_in_another_way_is_refused() -> None:
    stored = table()
    other = tuple({**c, "metric": "colors"} for c in stored.columns)
    with pytest.raises(UsageError, match="column GE is not what it was"):
        respecified(stored, replace(stored, columns=other))
    sampled = (*stored.rows[:2], {**stored.rows[2], "sampling": {"cfg_scale": 1.0}})
    with pytest.raises(UsageError, match="row ddspo is not what it was"):
        respecified(stored, replace(stored, rows=sampled))
    for fewer in (stored.rows[:2], stored.rows[1:]):
        with pytest.raises(UsageError, match="is not what it was"):
            respecified(stored, replace(stored, rows=fewer))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of format 1 was stored without any claim, of three rows and two columns."""
    out = tmp_path / "now"
    source = ["report", "--table", "1a", "--from", str(OLD)]
    assert main([*source, "--respec", "--output", str(out)]) == 2
    assert "row" in capsys.readouterr().err  # its command asks for all rows
    folder = tmp_path / "old"
    folder.mkdir()
    stored = json.loads((OLD / "table.json").read_bytes())
    words = ["run", "--table", "1a", "--profile", "tiny", "--rows", "base,ddspo,base-again"]
    stored["command"] = [*words, "--cols", "GE,FID", "--seeds", "0,1,2"]
    again = next(row for row in stored["rows"] if row["key"] == "base-again")
    again["sampling_seed"] = 9001  # what the table says of it today
    (folder / "table.json").write_text(json.dumps(stored))
    (folder / "records.parquet").write_bytes((OLD / "records.parquet").read_bytes())
    seal(folder)
    again = ["report", "--table", "1a", "--from", str(folder), "--respec", "--output", str(out)]
    assert main(again) == 0
    found = read_report(out)
    claims = {(c["better"], c["worse"], c["column"]) for c in found.data.claims}
    assert ("ddspo", "base", "GE") in claims and ("base", "ddspo", "FID") in claims
    assert len(found.statistics.verdicts) == len(found.data.claims)
    assert found.data.cells == read_report(folder).data.cells


MINE = """
title: mine
source: own
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: theirs, label: theirs, weights: owner/name%s}
columns:
  - {key: GE, label: GenEval, evaluator: geneval, metric: overall, higher_is_better: true,
     decimals: 4, per_image: correct}
claims:
  - {better: theirs, worse: base, column: GE}
"""


def test_a_reward_that_a_row_says_afterwards_makes_its_claims_circular(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "mine.yaml", tmp_path / "stored"
    file.write_text(MINE % "")
    request = request_for(str(file), "tiny")
    protocol = {**PROTOCOL, "backends": {"clip": {"backend": "tiny-pickscore", "version": 1}}}
    cells = [mean_cell(key, None, shift, protocol=protocol) for key, shift in SHIFTS]
    data = empty_table(request, cells)
    write_report(make_report(data, [f"scores/{key}" for key, _ in SHIFTS]), folder)
    again = ["report", "--table", str(file), "--from", str(folder), "--respec"]
    found = []
    for reward in ("", ", rewards: [tiny-pickscore]"):
        file.write_text(MINE % reward)
        assert main([*again, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [table["claims"][0]["circular"] for table in found] == [False, True]


def seal(folder: Path) -> None:
    from bench.store import publish_folder

    publish_folder(folder, {file.name: file.read_bytes() for file in folder.iterdir()})
