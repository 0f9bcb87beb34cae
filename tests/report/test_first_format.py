"""A table of format 1 (rows of the published Table 1a, as it was stored) is still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report.stored import FORMAT, JSON_FILE, read_report, read_table, write_report

OLD = Path(__file__).parent / "format-1"


def test_one_seed_becomes_a_training_seed_and_a_noise_seed() -> None:
    data = read_report(OLD).data
    seeds = {(c.row, c.training_seed, c.noise_seed) for c in data.cells}
    trained = {("ddspo", seed, 0) for seed in range(3)}
    assert seeds == {("base", None, 0), ("base-again", None, 1), *trained}
    assert data.profile["noise"] == "shared"
    for cell in data.cells:
        assert len(cell.values) == (1200 if cell.column == "GE" else 0)


def test_values_are_those_that_were_stored_and_statistics_are_made_anew() -> None:
    stored = json.loads((OLD / JSON_FILE).read_bytes())
    report = read_report(OLD)
    for cell, was in zip(report.data.cells, stored["cells"], strict=True):
        assert cell.estimate is not None and cell.estimate.value == was["estimate"]["value"]
    found = report.statistics.value("ddspo", "GE").estimate
    assert found is not None and found.value == pytest.approx(0.4419, abs=1e-4)
    assert not read_table(OLD).statistics.values  # nobody shows the old ones


def test_written_again_it_is_of_the_present_format(tmp_path: Path) -> None:
    report = read_report(OLD)
    write_report(report, tmp_path)
    assert json.loads((tmp_path / JSON_FILE).read_bytes())["format"] == FORMAT
    again = read_report(tmp_path)
    assert again == report
