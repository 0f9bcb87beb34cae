"""The committed results, rendered and computed again; the README shows nothing else."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.report.stored import read_report
from tests.numbers import assert_same_document

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "results" / "table-1a"


def _report(*words: str) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "report",
        "--table",
        "1a",
        "--from",
        "results",
        *words,
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


FILES = ("table.md", "table.csv", "table.json", "table.tex", "table.html")


def test_the_published_table_is_rendered_again_byte_for_byte(tmp_path: Path) -> None:
    _report("--output", str(tmp_path))
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (PUBLISHED / name).read_bytes(), name


def test_its_numbers_are_those_of_its_records(tmp_path: Path) -> None:
    """Intervals and tests computed anew, on whatever processor: nothing moves by 1e-9."""
    _report("--output", str(tmp_path), "--recompute")
    for name in FILES:
        found, expected = (tmp_path / name).read_text(), (PUBLISHED / name).read_text()
        assert_same_document(found, expected, relative=1e-9, rounded=name != "table.json")


def test_a_changed_number_is_not_the_same_document() -> None:
    same = '{"value": 0.25, "n": 40}'
    exact: Any = {"relative": 1e-9, "rounded": False}
    assert_same_document(same.replace("0.25", "0.2500000000001"), same, **exact)
    for changed in (("0.25", "0.2500001"), ("40", "41"), ("value", "mean")):
        with pytest.raises(AssertionError):
            assert_same_document(same.replace(*changed), same, **exact)
    assert_same_document("| 0.3126 |", "| 0.3125 |", relative=1e-9, rounded=True)
    with pytest.raises(AssertionError):
        assert_same_document("| 0.3127 |", "| 0.3125 |", relative=1e-9, rounded=True)


def test_the_readme_shows_the_published_numbers() -> None:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks/readme_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = (ROOT / "README.md").read_text()
    block = readme.split(module.BEGIN)[1].split(module.END)[0].strip()
    assert block == module.readme_block(read_report(PUBLISHED))
    assert len([line for line in block.splitlines() if line.startswith("| ")]) >= 4
