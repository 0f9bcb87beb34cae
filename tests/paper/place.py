"""A user's machine for the paper profile: the hub's cache laid out by hand, the user's files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.geneval.prompts import OBJECT_NAMES, geneval_suite
from tests.paper.hub_cache import add_repository
from tests.paper.repositories import (
    CLIP_BASE,
    CLIP_LARGE,
    DETECTOR,
    SD,
    write_clip,
    write_detector,
    write_stable_diffusion,
)

ROOT = Path(__file__).parents[2]
LIMIT = 6
ROWS = ("base", "diffusion-dpo", "ddspo")
PROMPTS = (
    "a castle on a hill above the sea at night",
    "too short to keep",
    "portrait of an old sailor with a grey beard, oil on canvas",
    "two foxes asleep in deep snow under a pine tree",
    "a glass city floating over a desert, wide angle",
)
SAMPLING = {"steps": 2, "height": 16, "width": 16, "dtype": "float32"}
CHANGES = {
    **{f"pairs.generation.{key}": value for key, value in SAMPLING.items()},
    **{f"generation.{key}": value for key, value in SAMPLING.items()},
    "training.common.steps": 2,
    "training.common.batch": 2,
    "training.common.micro_batch": 1,
    "training.common.warmup_steps": 0,
    "training.common.save_every": 1,
    "training.common.precision": "no",
    # far too much, so that two steps move every pixel
    "training.methods.diffusion-dpo.train.lr": 0.02,
    "training.methods.ddspo.train.lr": 0.02,
    "batch_sizes.generation": 8,
    "batch_sizes.prediction": 4,
    "device": "cpu",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A user's machine: the hub's cache, and the files the profile asks for."""

    home: Path
    work: Path

    def bench(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m bench`, offline; `variables` are of its environment."""
        lacking = ("HF_HUB_CACHE", "HF_TOKEN")
        environment = {k: v for k, v in os.environ.items() if k not in lacking}
        environment |= {
            "HF_HOME": str(self.home),
            "HF_HUB_OFFLINE": "1",
            "BENCH_SKIP_SENTINEL": "1",  # networks of random weights detect nothing real
            "DDSPO_PAIR_PROMPTS": str(self.work / "prompts.txt"),
            "BENCH_CACHE": str(self.work / "cache"),
            "PYTHONPATH": str(ROOT),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "bench", *argv],
            cwd=self.work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def table(self, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the table, small."""
        changes = [f"--set={key}={value}" for key, value in CHANGES.items()]
        asked = ("--table", "1a", "--profile", "paper", "--limit", str(LIMIT), "--jobs", "1")
        return self.bench("run", *asked, *changes, *more, **variables)

    def artifacts(self, kind: str) -> list[Path]:
        """Return the folders of the artifacts of a kind, by name."""
        return sorted((self.work / "outputs" / kind).glob("stable-diffusion-v1-4.*"))


def likely_classes() -> Sequence[int]:
    """Return the classes the limited suite asks in a colour, and one more."""
    asked = {
        clause["class"]
        for prompt in geneval_suite().limited(LIMIT)
        for clause in prompt.meta["include"]
        if "color" in clause
    }
    return [OBJECT_NAMES.index(name) for name in sorted(asked)] + [0]


def make_place(home: Path, source: Path, work: Path) -> Place:
    """Return a machine that has the repositories of SD-1.4 and of GenEval, at toy width."""
    add_repository(home, SD, write_stable_diffusion(source / "sd"))
    add_repository(home, DETECTOR, write_detector(source / "detector", likely_classes()))
    add_repository(home, CLIP_LARGE, write_clip(source / "large"))
    add_repository(home, CLIP_BASE, write_clip(source / "base", seed=1))
    (work / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    return Place(home=home, work=work)
