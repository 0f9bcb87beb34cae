"""A table with a win-rate column, measured: its cells are those counted from the stored scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.store import Store, read_jsonl
from tests.steps.toys import save_checkpoint, write_profile

pytestmark = pytest.mark.slow

TABLE = """
title: "Win rates"
source: "nowhere"
rows:
  - {key: base, label: base, checkpoint: base}
  - {key: other, label: "base, other seed", checkpoint: base, sampling_seed: 1}
columns:
  - {key: CB, label: T2I-CompBench, evaluator: t2i-compbench, metric: overall, per_image: score,
     higher_is_better: true, decimals: 4}
  - {key: WR, label: "beats the base", evaluator: t2i-compbench, metric: win-rate,
     per_image: score, against: base, higher_is_better: true, decimals: 4}
protocols: {}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wins")
    profile = write_profile(folder, save_checkpoint(folder / "checkpoint"))
    table = folder / "wins.yaml"
    table.write_text(TABLE)
    asked = ["run", "--table", str(table), "--profile", str(profile), "--jobs", "1", "-q"]
    assert main([*asked, "--store", str(folder / "store")]) == 0
    alone = ["--rows", "other", "--store", str(folder / "alone")]
    assert main([*asked, *alone]) == 0
    return folder


def read(store: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store / "tables" / "wins" / "table.json").read_text())
    return found


def scores(store: Path, artifact: str) -> dict[tuple[str, int], float]:
    rows = read_jsonl(Store(store).get(artifact).file("records.jsonl"))
    return {(r["prompt_id"], r["ordinal"]): r["score"] for r in rows if r["score"] is not None}


def test_the_cell_is_the_share_of_wins(made: Path) -> None:
    table = read(made / "store")
    cells = {c["row"]: c for c in table["cells"] if c["column"] == "WR"}
    base, other = (
        scores(made / "store", cells[row]["provenance"]["artifacts"]["scores"])
        for row in ("base", "other")
    )
    assert base.keys() == other.keys() and base != other
    counted = sum(1.0 if other[k] > base[k] else 0.5 * (other[k] == base[k]) for k in base)
    estimate = cells["other"]["estimate"]
    assert estimate["value"] == pytest.approx(counted / len(base))
    assert estimate["n"] == len(base) and estimate["low"] <= estimate["value"] <= estimate["high"]
    assert cells["base"]["estimate"]["value"] == 0.5
    assert cells["other"]["protocol"]["evaluator"]["against"] == "base"


def test_the_scores_are_those_of_the_plain_column(made: Path) -> None:
    table = read(made / "store")
    chains = {(c["row"], c["column"]): c["provenance"]["artifacts"] for c in table["cells"]}
    assert chains["other", "WR"] == chains["other", "CB"]
    assert "against" not in next(c for c in table["columns"] if c["key"] == "CB")


def test_the_page_says_what_it_is(made: Path) -> None:
    page = (made / "store" / "tables" / "wins" / "table.md").read_text()
    assert "against the row base, image by image, a tie half a win" in page


def test_a_row_without_its_opponent_says_so(made: Path) -> None:
    cells = {c["column"]: c for c in read(made / "alone")["cells"]}
    assert cells["CB"]["state"] == "measured"
    assert cells["WR"]["state"] == "n/a" and "row base" in cells["WR"]["reason"]
