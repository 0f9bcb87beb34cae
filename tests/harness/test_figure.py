"""A committed table's column as a matplotlib figure."""

from __future__ import annotations

import sys

import pytest

from bench import harness
from bench.api.errors import PrerequisiteError, UsageError
from tests.steps.micro import ROOT


def test_every_measured_row_is_at_its_value() -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots`")
    table = harness.open_table(ROOT / "results" / "table-1a")
    axes = table.figure("FID").axes[0]
    estimates = {
        row["label"]: table.value(row["key"], "FID").estimate for row in table.stored.data.rows
    }
    expected = {label: one.value for label, one in estimates.items() if one is not None}
    labels = [text.get_text() for text in axes.get_yticklabels()]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    drawn = {labels[int(p.get_ydata()[0])]: float(p.get_xdata()[0]) for p in points}
    assert drawn == expected and len(drawn) > 2
    assert "FID" in axes.get_xlabel()
    with pytest.raises(UsageError, match="'FID'"):
        table.figure("FIDD")


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PrerequisiteError, match=r"align-bench\[plots\]"):
        harness.open_table(ROOT / "results" / "table-1a").figure("FID")
