"""A stored table with what its file says now; what was measured is not touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.cli import main
from bench.report.respecified import respecified
from bench.report.stored import read_report
from tests.report.tables import table

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


def seal(folder: Path) -> None:
    from bench.store import publish_folder

    publish_folder(folder, {file.name: file.read_bytes() for file in folder.iterdir()})
