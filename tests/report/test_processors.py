"""Who compares numbers of two processors is told so: in one table, between two, by doctor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.report import processors
from bench.report.model import TableData
from bench.report.stored import make_report, write_report
from bench.store import Store
from bench.store.processor import made_on
from tests.report.tables import table

WIDE, NARROW = "Xeon, AVX512", "Xeon, AVX2"


def made(data: TableData, **makers: str) -> TableData:
    """The table with every cell's artifacts made on `makers`, by role."""
    cells = [replace(c, provenance={**c.provenance, processors.KEY: makers}) for c in data.cells]
    return replace(data, cells=tuple(cells))


def test_artifacts_of_one_role_are_compared() -> None:
    one, other = table(), table()
    assert processors.lines(one.cells) == []  # stored before this was recorded
    wide = made(one, images="H200", scores=WIDE).cells
    assert processors.lines(wide) == []
    assert processors.lines([*wide, *one.cells]) == []
    (line,) = processors.lines([*wide, *made(other, images="H200", scores=NARROW).cells])
    assert WIDE in line and NARROW in line and "H200" not in line


def test_the_note_stands_below_the_table_and_below_a_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, maker in (("a", WIDE), ("b", NARROW)):
        write_report(make_report(made(table(), scores=maker), []), tmp_path / name)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "made on unlike processors (Xeon, AVX2; Xeon, AVX512)" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "a"), "--against", "base"]) == 0
    assert "unlike processors" not in capsys.readouterr().out
    cells = (*made(table(), scores=WIDE).cells[:3], *made(table(), scores=NARROW).cells[3:])
    shown = make_report(replace(table(), cells=cells), []).render("md")
    assert "unlike processors" in shown


def test_what_an_artifact_was_made_on_is_in_its_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    with store.create("scores", "x", {"a": 1}) as work:
        work.write_json("metrics.json", {"value": 0.5})
    found = store.find("scores", "x", {"a": 1})
    assert found is not None
    told: dict[str, Any] = found.manifest["provenance"]
    assert told["processor"]["model"] and "processor" not in str(found.manifest["identity"])
    assert made_on(told).startswith(told["processor"]["model"])
    assert made_on({**told, "device": "NVIDIA H200"}) == "NVIDIA H200"
    assert made_on({}) == "unknown"
    main(["doctor", "--store", str(tmp_path / "store")])
    out = capsys.readouterr().out
    assert "made on" in out and made_on(told) in out and "vector instructions" in out


def test_a_variable_by_which_libraries_compute_at_another_precision_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "store")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT")  # float32, as asked for
    with store.create("scores", "x", {"a": 1}) as work:
        work.write_json("metrics.json", {"value": 0.5})
    found = store.find("scores", "x", {"a": 1})
    assert found is not None
    maker = made_on(found.manifest["provenance"])
    assert maker.endswith(", NVIDIA_TF32_OVERRIDE=1") and "ONEDNN" not in maker
    write_report(make_report(made(table(), images=maker), []), tmp_path / "t")
    assert main(["report", "--table", table().table, "--from", str(tmp_path / "t")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "computed at another precision than asked for (NVIDIA_TF32_OVERRIDE=1)" in out
