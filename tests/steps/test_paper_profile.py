"""What the paper profile says on a machine that has nothing of it; `tests/paper` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.steps.micro import ROOT

REPOSITORY = "CompVis/stable-diffusion-v1-4"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An empty Hugging Face cache, and nothing a user would provide."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "DDSPO_"))}
    places = {"HF_HOME": str(tmp_path / "home"), "BENCH_CACHE": str(tmp_path / "cache")}
    return {**kept, **places, "HF_HUB_OFFLINE": "1"}


def bench(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_missing_weights_are_exit_three_with_the_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    words = ["run", "--table", "1a", "--profile", "paper", "--offline"]
    detector = ["--set", "backends.detector=tests.steps.toys:ToyDetector"]
    done = bench(environment, *words, *detector, "--store", str(tmp_path / "store"))
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
    for suite in ("t2i-compbench", "coco-30k"):
        assert f"python -m bench assets fetch {suite}" in done.stderr
