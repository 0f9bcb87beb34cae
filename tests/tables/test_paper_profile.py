"""The paper profile's whole path, on repositories of toy width under the real ids, offline."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tables.micro import ROOT
from tests.tables.toys import save_checkpoint

REPOSITORY = "CompVis/stable-diffusion-v1-4"
COMMIT = "133a221b8aa7292a167afc5127cb63fb5005638b"
SMALL = (
    "backends.detector=tests.tables.toys:ToyDetector",
    "backends.features=tests.tables.toys:ToyFeatures",
    # half precision is the GPU's; sizes and counts are cut, nothing else
    "generation={steps: 2, height: 16, width: 16, dtype: float32}",
    "pairs.generation.steps=2",
    "pairs.generation.height=16",
    "pairs.generation.width=16",
    "pairs.generation.dtype=float32",
    "training.common.precision=no",
    "training.common.steps=2",
    "training.common.batch=4",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A Hugging Face cache that holds the checkpoint, and the prompt files a user provides."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "hub" / f"models--{REPOSITORY.replace('/', '--')}"
    checkpoint = save_checkpoint(home / "work" / "checkpoint")
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(checkpoint, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    captions, prompts = home / "captions.txt", home / "prompts.txt"
    captions.write_text("".join(f"a photo of thing number {i}\n" for i in range(30_000)))
    prompts.write_text("".join(f"a red circle and {i} blue squares of two\n" for i in range(8)))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "T2I_"))}
    return {
        **kept,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "COCO_CAPTIONS": str(captions),
        "DDSPO_PAIR_PROMPTS": str(prompts),
    }


def bench(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_paper_path_runs_offline(environment: dict[str, str], tmp_path: Path) -> None:
    small = [word for setting in SMALL for word in ("--set", setting)]
    done = bench(
        environment,
        *("run", "--table", "1a", "--profile", "paper", "--limit", "6", "--jobs", "1"),
        *("--store", str(tmp_path / "store"), *small),
    )
    assert done.returncode == 0, done.stderr
    table = tmp_path / "store" / "tables" / "1a"
    with (table / "table.csv").open(newline="") as file:
        rows = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    for row in ("base", "diffusion-dpo", "ddspo"):
        assert rows[row, "GE"]["state"] == "measured"
        assert rows[row, "GE"]["images"] == "24"  # six prompts, one of each task, four images
        assert rows[row, "IS"]["state"] == "measured"
        assert rows[row, "CB"]["state"] == "n/a"
        assert "T2I_COMPBENCH_PROMPTS" in rows[row, "CB"]["reason"]
    text = (table / "table.md").read_text()
    assert "protocol `authors`" in text and "file format jpeg75" in text
    assert "PARTIAL" in text and "orientation" not in text
    assert list((tmp_path / "store" / "images").glob("*/images/*.jpg"))


def test_missing_weights_are_exit_three_with_the_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    empty = {**environment, "HF_HOME": str(tmp_path / "empty")}
    words = ["run", "--table", "1a", "--profile", "paper", "--offline"]
    detector = ["--set", "backends.detector=tests.tables.toys:ToyDetector"]
    done = bench(empty, *words, *detector, "--store", str(tmp_path / "store"))
    assert done.returncode == 3
    assert "to mend it" in done.stderr and REPOSITORY in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_table_of_which_nothing_can_be_measured_is_exit_three(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = bench(
        environment,
        *("run", "--table", "1a", "--profile", "paper", "--cols", "CB,FID"),
        *("--store", str(tmp_path / "store")),
    )
    assert done.returncode == 3
    assert "T2I_COMPBENCH_PROMPTS" in done.stderr and "no back-end" in done.stderr
