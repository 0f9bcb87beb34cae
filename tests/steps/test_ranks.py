"""Trainings on several ranks by the command line: equal to one, killed or not, and well told.

Each start of ranks costs seconds of importing torch, so a start serves several questions.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from bench.api.errors import BenchError, UsageError
from bench.api.observed import Observed
from bench.cli import main
from bench.executors.local import run_graph
from bench.executors.plan import Plan
from bench.executors.plan import Step as PlannedStep
from bench.harness.work import Work
from bench.spec.profile import load_profile
from bench.steps.ranks import result_of
from bench.store import Store
from bench.training.ranks import Ending
from tests.steps.micro import forked
from tests.steps.toynodes import graph_of, node
from tests.steps.toys import save_checkpoint, write_profile
from tests.training.runs import relative_difference

NEAR = 1e-5
"""Relative bound in float32."""
STEPS = ("--set", "training.common.steps=40", "--set", "training.common.save_every=2")
LORA = ("--set", "training.common.mode=lora", "--set", "training.common.lora_rank=2")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


def arguments(profile: Path, store: Path, *more: str, method: str = "ddspo") -> list[str]:
    where = ["--profile", str(profile), "--store", str(store), "--jobs", "1", "--trust", "-q"]
    return ["train", method, *where, *STEPS, *more]


def trained(store: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The last exported weights and the manifest's notes."""
    (artifact,) = Store(store).artifacts("train")
    (file,) = (artifact.path / "exports" / "step-00000040").glob("*.safetensors")
    return load_file(file), artifact.manifest["notes"]


def kill_in_the_middle(asked: list[str], store: Path, log: Path) -> None:
    """Start a training in a fork; kill it when something was saved and not all is done."""
    pid = forked(asked, log)
    saved: list[Path] = []
    until = time.monotonic() + 600
    while not saved and time.monotonic() < until:
        saved = list(store.glob("train/*.partial/checkpoints/step-*/manifest.json"))
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert saved, log.read_text()
    assert not list(store.glob("train/*/manifest.json"))


def left_at_work(store: Path) -> list[str]:
    """Other processes that hold a file of the store open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = [str(file.readlink()) for file in (process / "fd").iterdir()]
        except OSError:
            continue
        if process.name != str(os.getpid()) and any(str(store) in name for name in held):
            found.append(process.name)
    return found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("method", "settings", "before", "after"),
    [
        ("ddspo", (), 2, 1),
        ("diffusion-dpo", LORA, 1, 2),
        pytest.param("ddspo", LORA, 2, 2, marks=pytest.mark.slow),
        pytest.param("diffusion-dpo", (), 1, 2, marks=pytest.mark.slow),
    ],
)
def test_a_killed_training_goes_on_with_another_number_of_ranks(
    profile: Path,
    tmp_path: Path,
    method: str,
    settings: tuple[str, ...],
    before: int,
    after: int,
) -> None:
    whole, store = tmp_path / "whole", tmp_path / "store"
    assert main(arguments(profile, whole, *settings, method=method)) == 0
    asked = arguments(profile, store, *settings, method=method)
    kill_in_the_middle([*asked, "--ranks", str(before)], store, tmp_path / "log")
    assert main([*asked, "--ranks", str(after)]) == 0
    assert not left_at_work(store) and not list(store.glob("*/*.lock"))
    (one, alone), (two, together) = trained(whole), trained(store)
    assert alone["ranks"] == [1]
    assert together["ranks"] == ([before] if before == after else [before, after])
    assert relative_difference(one, two) < NEAR
    assert (alone["steps"], alone["exports"]) == (together["steps"], together["exports"])


@dataclass
class Ended:
    """What is asked of `bench.training.ranks.Ranks` once its processes have ended."""

    count: int = 2

    def process_of(self, rank: int) -> str:
        return f"rank {rank}"


def leave(folder: Path, rank: int, **told: Any) -> None:
    (folder / f"rank-{rank}.json").write_text(json.dumps(told))


def failed(message: str, *, trace: str | None = None, code: int = 1) -> dict[str, Any]:
    return {"message": message, "exit_code": code, "damaged": None, "trace": trace}


LOST = failed("RuntimeError: Connection closed by peer", trace="...")


@pytest.mark.parametrize(
    ("told", "ending", "message", "code"),
    [
        ((LOST, failed("no memory", code=3)), Ending(code=1, ended={0: 1}), "no memory", 3),
        ((LOST, None), Ending(code=1, ended={1: -9}), "rank 1 was ended by signal 9 (out of m", 1),
        ((LOST, None), Ending(code=1, silent=1), "rank 1 gave no sign of life for 300 s", 1),
        ((None, None), Ending(code=-9), "the launcher of its 2 ranks was ended by signal 9", 1),
        ((LOST, None), Ending(code=1), "rank 0: RuntimeError: Connection closed", 1),
    ],
)
def test_what_made_the_ranks_fail_is_told_and_not_what_followed(
    told: tuple[Any, Any], ending: Ending, message: str, code: int, tmp_path: Path
) -> None:
    for rank, failure in enumerate(told):
        if failure is not None:
            leave(tmp_path, rank, failed=failure)
    with pytest.raises(BenchError, match=re.escape(message)) as caught:
        result_of(tmp_path, Ended(), ending)
    assert caught.value.exit_code == code


def test_files_that_plug_ins_read_in_a_rank_are_known_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, theirs = Observed(), Observed()
    monkeypatch.setattr("bench.steps.ranks.SEEN", seen)
    monkeypatch.setenv("MY_SETTING", "3")
    theirs.files["/a"], theirs.folders["/b"] = (1, 2, 3, 4), ("c",)
    theirs.variables["MY_SETTING"] = "3"
    one = {"steps": 2, "exports": [2], "seconds": 1.0, "peak_memory_mb": 5.0, "ranks": [2]}
    leave(tmp_path, 0, trained=one, observed=theirs.to_json())
    leave(tmp_path, 1, trained={**one, "peak_memory_mb": 7.0}, observed=Observed().to_json())
    assert "MY_SETTING" in (text := (tmp_path / "rank-0.json").read_text()) and '"3"' not in text
    found = result_of(tmp_path, Ended(), Ending(code=0))
    assert (found.peak_memory_mb, found.ranks, found.exports) == (7.0, (2,), (2,))
    assert (seen.files, seen.folders) == (theirs.files, theirs.folders)
    assert seen.variables == {"MY_SETTING": "3"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (("RANK=1", "WORLD_SIZE=2", "LOCAL_RANK=1"), "WORLD_SIZE=2, RANK=1, LOCAL_RANK=1"),
        (("PMI_SIZE=4",), "PMI_SIZE=4"),
    ],
)
@pytest.mark.parametrize("verb", [("train", "ddspo"), ("run", "--table", "1a")])
def test_a_command_that_a_launcher_started_twice_is_refused_at_once(
    variables: tuple[str, ...],
    told: str,
    verb: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable in variables:
        monkeypatch.setenv(*variable.split("=", 1))
    assert main([*verb, "--store", str(tmp_path / "store")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line and "Start it once" in line and "--ranks" in line
    assert not (tmp_path / "store").exists()


def test_one_process_of_a_launcher_is_no_several(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert Work(ranks=3).ranks == 3


def test_ranks_that_cannot_be_are_refused(
    profile: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = arguments(profile, tmp_path / "store")
    assert main([*asked, "--ranks", "0"]) == 2
    for more in ((), ("--dry-run",)):
        assert main([*asked, "--ranks", "5", *more]) == 2
        assert "its batch is 4 pairs, for 5 ranks" in capsys.readouterr().err
    assert main(["run", "--table", "fig2", "--ranks", "2", "--store", str(tmp_path)]) == 2
    assert "--ranks means nothing for table fig2" in capsys.readouterr().err
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    with pytest.raises(UsageError, match="--ranks 3: there are 2 GPUs to use"):
        Work(ranks=3).job_count(load_profile("paper"))
    with pytest.raises(UsageError, match="--ranks 2 with --jobs 1"):
        Work(ranks=2, jobs=1).job_count(load_profile("paper"))
    assert Work(ranks=2).gpu_names(load_profile("paper")) == ("2", "5")


def test_a_step_of_several_ranks_waits_for_gpus_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    asked = {"log": str(log), "variable": "CUDA_VISIBLE_DEVICES"}
    few = [node(f"one-{n}", seconds=9.0, **asked) for n in range(4)]
    both = node("both", few[0], places=2, **asked)
    last = node("last", both, **asked)
    outcome = run_graph(
        graph_of(*few, both, last), [last.id, *(n.id for n in few)], Store(tmp_path), jobs=2,
        gpus=("2", "5"),
    )  # fmt: skip
    assert not outcome.failures and len(outcome.made) == 6
    seen = dict(line.split() for line in log.read_text().splitlines())
    assert sorted(seen["both"].split(",")) == ["2", "5"]
    assert {seen[f"one-{n}"] for n in range(4)} | {seen["last"]} <= {"2", "5"}


def test_a_plan_counts_on_all_ranks_of_a_training(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = PlannedStep(
        id="t", label="train", state="missing", reason="", seconds=60.0, bytes=0, ranks=4
    )
    plan = Plan(steps=(step,), missing=())
    assert [plan.seconds(jobs) for jobs in (1, 2, 4, 8)] == [60.0, 30.0, 15.0, 15.0]
    where = ["--profile", str(profile), "--store", str(tmp_path / "store"), "--trust"]
    assert main(["plan", "--table", "1a", "--rows", "ddspo", *where, "--ranks", "2"]) == 0
    assert ", by 2 ranks" in capsys.readouterr().out
    assert main([*arguments(profile, tmp_path / "store"), "--ranks", "2", "--dry-run"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "4 pairs = 4 x 1 micro-batches, 2 ranks" in text
    assert "on 2 devices, at best" in text and ", on each device" in text
