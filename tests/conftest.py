"""Set up before any test module is imported: one thread in each process, the guard, and the tests'
own plug-ins, installed as another package's would be (`tests/installed`).

And which tests are `numeric`: those whose numbers hang on the order in which a processor adds.
"""

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background of a shell: the tests that interrupt must be heard all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)

import bench  # noqa: F401  (installs the torchvision guard)
from bench.api import loading, observed
from bench.executors import plugins

plugins.HARMLESS.add("tests")  # ours patch nothing: they need no process of their own

INSTALLED = str(Path(__file__).with_name("installed"))
sys.path.append(INSTALLED)
os.environ["PYTHONPATH"] = os.pathsep.join(
    [*filter(None, [os.environ.get("PYTHONPATH")]), INSTALLED]
)

NUMERIC = (
    "backbones/test_families.py",
    "backbones/test_flow.py",
    "backbones/test_lora.py",
    "backbones/test_sd.py",
    "backbones/test_sdxl.py",
    "check/test_invariance.py",
    "data/test_augmentation.py",
    "evaluators/test_blip_vqa.py",
    "evaluators/test_clip_features.py",
    "evaluators/test_fid.py",
    "evaluators/test_frechet.py",
    "evaluators/test_inception_rules.py",
    "evaluators/test_kid_precision_recall.py",
    "evaluators/test_oneig_towers.py",
    "evaluators/test_tiny_rewards.py",
    "generation/test_negative.py",
    "methods/",
    "report/test_published.py",
    "stats/test_bootstrap.py",
    "stats/test_jackknife.py",
    "stats/test_student.py",
    "tiny/test_scorers.py",
    "toy/test_budget.py",
    "toy/test_metrics.py",
    "toy/test_mixture.py",
    "toy/test_objective.py",
    "training/test_ema.py",
    "training/test_export.py",
    "training/test_golden.py",
    "training/test_networks.py",
    "training/test_objective.py",
    "training/test_randomness.py",
    "training/test_rollout.py",
    "training/test_rollout_runs.py",
    "training/test_runner.py",
)
"""Files and folders beneath tests/ that `make test-cpus` runs under every instruction set."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Let each test begin as a process that took no plug-in from anywhere.

    What an earlier test imported would else decide in which process a later one does its work,
    what its plug-ins read would be recorded with what later ones make, and a folder it made
    importable would hide a file of the same name.
    """
    loading.IMPORTED.clear()
    observed.SEEN.__init__()  # type: ignore[misc]
    paths = [*sys.path]
    try:
        return (yield)
    finally:
        sys.path[:] = paths


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in `NUMERIC`."""
    root = Path(__file__).parent
    for item in items:
        if not item.path.is_relative_to(root):
            continue
        name = item.path.relative_to(root).as_posix()
        if any(name == part or (part.endswith("/") and name.startswith(part)) for part in NUMERIC):
            item.add_marker(pytest.mark.numeric)
