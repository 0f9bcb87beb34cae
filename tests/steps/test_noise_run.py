"""A table with noise of its own for each training seed: sampled, paired, stored, printed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.report.stored import read_report
from bench.store import Store
from tests.steps.micro import table_arguments
from tests.steps.toys import save_checkpoint, write_profile

ASKED = ("--rows", "base,ddspo", "--cols", "GE", "--seeds", "0,1", "--set", "noise=per-seed")


def test_every_seed_has_noise_of_its_own_and_so_has_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = write_profile(tmp_path, save_checkpoint(tmp_path / "checkpoint"))
    store = tmp_path / "store"
    assert main(table_arguments(profile, store, *ASKED, "-q")) == 0
    folder = store / "tables" / "1a"
    data = read_report(folder).data
    cells = {(c.row, c.training_seed, c.noise_seed) for c in data.cells}
    base, trained = {("base", None, n) for n in range(2)}, {("ddspo", s, s) for s in range(2)}
    assert cells == base | trained
    seeds = {
        (s["training"], s["noise"])
        for artifact in Store(store).artifacts("scores")
        for s in [artifact.manifest["seeds"]]
    }
    assert seeds == {(None, n) for n in range(2)} | {(s, s) for s in range(2)}
    # images of one noise are of one starting point, those of another of another
    ge = {c.noise_seed: c for c in data.of("base", "GE")}
    sets = [Store(store).get(c.provenance["artifacts"]["images"]) for c in ge.values()]
    drawn = [
        tuple(json.loads(line)["seed"] for line in a.file("records.jsonl").read_text().splitlines())
        for a in sets
    ]
    assert len(set(drawn)) == 2
    with (folder / "table.csv").open(newline="") as file:
        rows = {(r["row"], r["column"]): r for r in csv.DictReader(file)}
    assert rows["base", "GE"]["by_seed"].startswith("noise 0:") and not rows["base", "GE"]["seeds"]
    assert rows["ddspo", "GE"]["seeds"] == "2" and rows["ddspo", "GE"]["difference_df"]
    capsys.readouterr()
    assert main(table_arguments(profile, store, *ASKED)) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert main(["show", "cell", "1a/base/GE/1", "--store", str(store)]) == 0
    assert "noise seed     1" in capsys.readouterr().out
