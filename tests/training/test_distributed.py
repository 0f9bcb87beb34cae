"""Several processes give the result of one, and eight pieces that of one, up to float rounding.

Two orders of one sum: in float64 they agree to `EXACT`, on every processor. In float32 the same
code agrees to some hundred units of rounding, and how many depends on t, processor and threads
(2e-5 was seen where a large t makes an error the difference of two large numbers), so float32 is
held to `FLOAT32` for two cases only.

`accelerate launch` starts the processes; on a machine without MPI its own CPU launcher starts one
alone, so the one for several devices is taken and told by the environment to use the CPU (gloo).
Cases are run in two launches, the quick ones first: starting the processes costs more than training
in them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api.errors import UsageError
from bench.api.method import Method
from bench.backbones import load_backbone
from bench.backbones.base import Backbone
from bench.data.pairing import RePaired
from bench.training.runner import TrainResult
from methods.ddspo import DDSPO
from methods.ddspo_efficient import DDSPOEfficient
from methods.diffusion_dpo import DiffusionDPO
from methods.diffusion_kto import DiffusionKTO
from methods.realalign import RealAlignStage1
from tests.precision import EXACT, double_precision, doubled
from tests.tiny_families import random_pairs, write_checkpoint
from tests.training.nets import tiny_backbone, tiny_pairs
from tests.training.runs import KAPPA, exported, gradients, relative_difference, rows, run

ROOT = Path(__file__).parents[2]
BATCH = 8
FLOAT32 = 1e-4
"""Relative bound for one step in float32."""
LORA = {"mode": "lora", "lora_rank": 2, "lora_alpha": 2.0}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training; `family` None is the toy SD of `tests.training.nets`."""

    method: Callable[[], Method]
    family: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True

    @property
    def bound(self) -> float:
        """Relative, of losses and gradients of the first step."""
        return EXACT if self.exact else FLOAT32

    @contextmanager
    def backbone(self, checkpoints: Path, scratch: Path) -> Iterator[Backbone]:
        """The toy checkpoint, one in `checkpoints` or made in `scratch`; in float64 if exact."""
        if self.family is None:
            made: Backbone = tiny_backbone(scratch / "sd")
        else:
            made = load_backbone(checkpoints / self.family)
        if not self.exact:
            yield made
            return
        with double_precision():
            yield doubled(made)


def stage_1(**options: Any) -> Callable[[], Method]:
    return lambda: RealAlignStage1(rollout_steps=3, margin=1.0, **options)


CASES = {
    "ddspo-full": Case(method=lambda: DDSPO(kappa=KAPPA)),
    "ddspo-lora": Case(method=lambda: DDSPO(kappa=KAPPA), settings=LORA),
    "dpo-full": Case(method=lambda: DiffusionDPO(kappa=KAPPA)),
    "dpo-lora": Case(method=lambda: DiffusionDPO(kappa=KAPPA), settings=LORA),
    "ddspo-unlike-shares": Case(method=lambda: DDSPO(kappa=KAPPA), settings={"batch": 5}),
    "ddspo-dropout-ema": Case(
        method=lambda: DDSPO(kappa=KAPPA),
        settings={**LORA, "ema_decay": 0.9, "prompt_dropout": 0.5},
    ),
    "ddspo-float32": Case(method=lambda: DDSPO(kappa=KAPPA), exact=False),
    "kto": Case(method=lambda: DiffusionKTO(kappa=KAPPA, gamma=0.6)),
    "not-paired": Case(method=lambda: DDSPOEfficient(kappa=KAPPA)),
    "rand-positive": Case(method=lambda: DDSPOEfficient(kappa=KAPPA, pairing="rand-positive")),
    "rand-positive-float32": Case(
        method=lambda: DDSPOEfficient(kappa=KAPPA, pairing="rand-positive"), exact=False
    ),
    "realalign-stage1-paper": Case(method=stage_1()),
    "realalign-stage1-released": Case(method=stage_1(variant="released"), settings=LORA),
    "realalign-stage1-kept": Case(
        method=stage_1(policy_sync_every=2, reuse_rollouts=True),
        settings={"batch": 13},  # a pair is met twice in a step
    ),
    "sd3-ddspo": Case(method=lambda: DDSPO(kappa=KAPPA), family="sd3"),
    "sd3-realalign-released": Case(
        method=stage_1(variant="released"), family="sd3", settings={**LORA, "prompt_dropout": 0.5}
    ),
}

QUICK = ("ddspo-full", "ddspo-lora", "dpo-full", "dpo-lora")


def train(case: Case, backbone: Backbone, folder: Path, *, pieces: int, steps: int) -> TrainResult:
    """Run the case in `folder` with micro-batches of `pieces`."""
    method = case.method()
    pairs: Any = tiny_pairs() if case.family is None else random_pairs(backbone)
    if method.needs.pairing != "own":
        pairs = RePaired(pairs=pairs, pairing=method.needs.pairing)
    options = {"batch": BATCH, "save_every": 1, "seed": 5, **case.settings}
    return run(backbone, folder, method, pairs=pairs, steps=steps, micro_batch=pieces, **options)


def launch(folder: Path, checkpoints: Path, names: Iterable[str], ranks: int = 2) -> None:
    """Run `worker` on some cases in `ranks` processes joined by gloo."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
        *("--num_processes", str(ranks), "--num_machines", "1", "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", str(port)),
        *("--module", "tests.training.test_distributed", str(folder), str(checkpoints)),
        *names,
    ]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=3600)


def worker(folder: Path, checkpoints: Path, names: Iterable[str]) -> None:
    """Train one step; train three, lose the last checkpoint and resume."""
    rank = os.environ["RANK"]
    assert os.environ["WORLD_SIZE"] == "2"
    scratch = folder / f"scratch-{rank}"
    for name in names:
        case = CASES[name]
        with case.backbone(checkpoints, scratch) as backbone:
            train(case, backbone, folder / name / "one-step", pieces=1, steps=1)
            train(case, backbone, folder / name / "three-steps", pieces=1, steps=3)
            if rank == "0":
                shutil.rmtree(folder / name / "three-steps" / "checkpoints" / "step-00000003")
            torch.distributed.barrier()
            resumed = train(case, backbone, folder / name / "three-steps", pieces=1, steps=3)
            assert resumed.steps == 3
    assert torch.distributed.get_backend() == "gloo"
    with pytest.raises(UsageError, match="1 pairs for 2 processes"):
        run(tiny_backbone(scratch / "sd"), folder / "too-small", steps=1, batch=1)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for family in {case.family for case in CASES.values()} - {None}:
        # the libraries write on the first process alone, so this is done before there are two
        write_checkpoint(str(family), folder / str(family))
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    launch(folder, folder, QUICK)
    return folder


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory, checkpoints: Path) -> Path:
    folder = tmp_path_factory.mktemp("rest")
    launch(folder, checkpoints, [name for name in CASES if name not in QUICK])
    return folder


def assert_same_run(
    one: TrainResult, other: TrainResult, folders: tuple[Path, Path], bound: float
) -> None:
    """Loss, errors and gradients of the first step agree to `bound`, later steps less closely."""
    first, second = rows(one), rows(other)
    assert [row["step"] for row in second] == [1, 2, 3]
    # a piece is sampled as far as its latest state only, so cost is the pieces' own
    told = {"step", "lr", "samples_per_second", "peak_memory_mb", "cost_units"}
    for key in first[0].keys() - told:
        assert second[0][key] == pytest.approx(first[0][key], rel=bound, abs=bound / 100), key
    found = relative_difference(*(gradients(folder / "one-step") for folder in folders))
    assert found < bound
    # Adam divides small gradients by their own size, so later steps agree less closely
    assert relative_difference(exported(one), exported(other)) < 1000 * bound


@pytest.mark.parametrize("name", QUICK)
def test_two_processes_and_small_pieces_are_one(quick: Path, tmp_path: Path, name: str) -> None:
    assert_two_are_one(quick, tmp_path, tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_two_processes_are_one_for_all_methods(
    rest: Path, checkpoints: Path, tmp_path: Path, name: str
) -> None:
    assert_two_are_one(rest, checkpoints, tmp_path, name)


def assert_two_are_one(two: Path, checkpoints: Path, tmp_path: Path, name: str) -> None:
    """What two processes left in `two` is what one leaves, in one piece and in eight."""
    case = CASES[name]
    one, pieces = tmp_path / "one", tmp_path / "pieces"
    results = {}
    with case.backbone(checkpoints, tmp_path) as backbone:
        for folder, size in ((one, 16), (pieces, 1)):
            train(case, backbone, folder / "one-step", pieces=size, steps=1)
            results[size] = train(case, backbone, folder / "three-steps", pieces=size, steps=3)
        # complete: reads what the two processes left
        together = train(case, backbone, two / name / "three-steps", pieces=1, steps=3)
    assert_same_run(results[16], results[1], (one, pieces), case.bound)
    assert_same_run(results[16], together, (one, two / name), case.bound)


if __name__ == "__main__":
    worker(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
