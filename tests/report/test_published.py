"""The committed results: rendered again byte for byte, and the README shows nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("how", [(), ("--recompute",)], ids=["stored", "recomputed"])
def test_the_published_table_is_rendered_again_byte_for_byte(
    how: tuple[str, ...], tmp_path: Path
) -> None:
    _report("--output", str(tmp_path), *how)
    for name in ("table.md", "table.csv", "table.json", "table.tex", "table.html"):
        assert (tmp_path / name).read_bytes() == (PUBLISHED / name).read_bytes(), name


def test_the_readme_shows_the_published_numbers() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- table-1a:begin -->")[1].split("<!-- table-1a:end -->")[0]
    rows = [line for line in block.splitlines() if line.startswith("|")]
    assert len(rows) > 4
    published = (PUBLISHED / "table.md").read_text().splitlines()
    assert [row for row in rows if row not in published] == []
