"""The door from Python: light to open, typed, and as strict as the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import harness
from bench.api.errors import PrerequisiteError, UsageError
from tests.steps.micro import ROOT


def test_opening_it_does_what_importing_bench_does_and_no_more() -> None:
    code = (
        "import json, logging, os, signal, sys, bench\n"
        "def state():\n"
        "    handlers = [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)]\n"
        "    logs = [str(h) for h in logging.getLogger().handlers]\n"
        "    return [dict(os.environ), handlers, logs, os.getcwd(), list(sys.path)]\n"
        "before = state()\n"
        "import bench.harness as harness\n"
        "light = sorted(m for m in sys.modules if m.startswith('bench.'))\n"
        "for name in dir(harness): getattr(harness, name)\n"
        "print(json.dumps([before == state(), 'torch' in sys.modules, light]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    same, torch, light = json.loads(done.stdout)
    assert same and not torch
    assert light == ["bench.environment", "bench.harness", "bench.torchvision_guard"]


def test_it_names_all_it_has() -> None:
    assert {"run", "plan", "train", "generate", "score", "compare"} <= set(dir(harness))
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        harness.rnu  # type: ignore[attr-defined]  # noqa: B018


def test_weights_of_a_back_end_are_looked_at_by_every_call(tmp_path: Path) -> None:
    weights, plugin = tmp_path / "weights", tmp_path / "mine.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from evaluators.models.tiny_detector import TinyDetector\n\n\n"
        "class Mine(TinyDetector):\n"
        "    def identity(self):\n"
        f"        return {{**super().identity(), 'weights': Path({str(weights)!r}).read_text()}}\n"
    )
    asked = [f"backends.detector={plugin}:Mine"]
    found = []
    for content in ("1", "2"):
        weights.write_text(content)
        plan = harness.plan(
            "1a", rows=["base"], columns=["GE"], overrides=asked, store=tmp_path / "store"
        )
        found.append([step.id for step in plan.steps])
    assert [one == other for one, other in zip(*found, strict=True)] == [True, False, False]


def test_a_setting_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    only = ["training.methods.sft.train.lr=1.0e-3"]
    with pytest.raises(UsageError, match=r"nothing reads training\.methods\.sft"):
        harness.plan("1a", rows=["base"], columns=["GE"], overrides=only, store=tmp_path)
    with pytest.raises(UsageError, match=r"nothing reads backends\.vqa"):
        harness.plan_training("ddspo", overrides=["backends.vqa=tiny-vqa-2"], store=tmp_path)


def test_unknown_words_are_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ddspo"):
        harness.plan("1a", rows=["ddsop"], store=tmp_path)
    with pytest.raises(UsageError, match=r"unknown pairs 'standart'.*standard"):
        harness.train("ddspo", pairs="standart", store=tmp_path)
    with pytest.raises(UsageError, match="looks at two image sets; found 1"):
        harness.score("images/a-0123456789ab", "vlm-judge", store=tmp_path)
    with pytest.raises(TypeError, match="rowz"):
        harness.plan("1a", rowz=["base"], store=tmp_path)  # type: ignore[call-arg]


def test_what_a_training_costs_is_told_before(tmp_path: Path) -> None:
    found = harness.plan_training("realalign", store=tmp_path)
    assert len(found.trainings) == 2 and not found.missing
    assert all(estimate.hours > 0 for estimate in found.trainings)


def test_a_checkpoint_that_is_not_here_is_a_prerequisite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    with pytest.raises(PrerequisiteError, match="nobody/nothing"):
        harness.generate("nobody/nothing", limit=4, store=tmp_path)


def test_a_failure_says_which_step_and_keeps_the_outcome(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from methods.diffusion_dpo import DiffusionDPO\n\n\n"
        "class Broken(DiffusionDPO):\n"
        "    name = 'broken'\n\n"
        "    def halves(self, *args, **kwargs):\n"
        "        raise RuntimeError('no luck today')\n"
    )
    small = ["pairs.suite.options.count=8", "training.common.steps=1", "training.common.batch=4"]
    with pytest.raises(harness.FailedError, match="no luck today") as caught:
        harness.train(f"{tmp_path / 'broken.py'}:Broken", overrides=small, store=tmp_path / "s")
    (cause,) = caught.value.outcome.causes
    assert cause.startswith("train/") and caught.value.exit_code == 1
