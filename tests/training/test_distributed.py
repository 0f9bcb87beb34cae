"""Several processes give the result of one, up to float rounding."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.api.errors import UsageError
from bench.backbones.sd import StableDiffusionBackbone
from tests.training.runs import exported, gradients, relative_difference, rows, run

ROOT = Path(__file__).parents[2]
BATCH = 6


def launch(folder: Path, mode: str, ranks: int) -> None:
    """Run `worker` in `ranks` processes joined by gloo."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes = []
    for rank in range(ranks):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        command = [sys.executable, "-m", "tests.training.test_distributed", str(folder), mode]
        processes.append(subprocess.Popen(command, env=environment, cwd=ROOT))
    try:
        assert [process.wait(timeout=300) for process in processes] == [0] * ranks
    finally:
        for process in processes:
            process.kill()


def worker(folder: Path, mode: str) -> None:
    """Train one step; train three, lose the last checkpoint and resume."""
    from tests.training.nets import tiny_backbone

    backbone = tiny_backbone(folder / f"tokenizer-{os.environ['RANK']}")
    options: dict[str, Any] = {"batch": BATCH, "micro_batch": 2, "mode": mode}
    run(backbone, folder / "one-step", steps=1, **options)
    run(backbone, folder / "three-steps", steps=3, save_every=1, **options)
    if os.environ["RANK"] == "0":
        shutil.rmtree(folder / "three-steps" / "checkpoints" / "step-00000003")
    torch.distributed.barrier()
    assert run(backbone, folder / "three-steps", steps=3, save_every=1, **options).steps == 3
    with pytest.raises(UsageError, match="1 pairs for 2 processes"):
        run(backbone, folder / "too-small", steps=1, batch=1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_two_processes_are_one(
    backbone: StableDiffusionBackbone, tmp_path: Path, mode: str
) -> None:
    launch(tmp_path / "two", mode, ranks=2)
    options: dict[str, Any] = {"batch": BATCH, "micro_batch": BATCH, "mode": mode}
    run(backbone, tmp_path / "one" / "one-step", steps=1, **options)
    alone = run(backbone, tmp_path / "one" / "three-steps", steps=3, save_every=1, **options)
    together = run(  # complete: reads what the two processes left
        backbone, tmp_path / "two" / "three-steps", steps=3, save_every=1, **options
    )
    one, two = rows(alone), rows(together)
    assert [row["step"] for row in two] == [1, 2, 3]
    for key in ("loss", "grad_norm", "error_b", "implicit_accuracy"):
        assert one[0][key] == pytest.approx(two[0][key], rel=1e-5), key
    folders = [tmp_path / name / "one-step" for name in ("one", "two")]
    assert relative_difference(*(gradients(folder) for folder in folders)) < 1e-5
    # Adam divides small gradients by their own size, so later steps agree less closely
    assert relative_difference(exported(alone), exported(together)) < 1e-3


if __name__ == "__main__":
    worker(Path(sys.argv[1]), sys.argv[2])
