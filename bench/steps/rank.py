"""The program of one rank of a training: `python -m bench.steps.rank FOLDER`, see `ranks.py`."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError
from bench.api.exits import end_process, failure_of, watched
from bench.api.messages import log_to_stderr
from bench.api.observed import SEEN
from bench.read.json_text import read_json
from bench.steps.ranks import RankedStep
from bench.steps.step import Runtime, step_from_json
from bench.store import Store, modules_of, require_unchanged, watching
from bench.training.ranks import RankChannel


def _own_device(device: str | None, rank: int) -> str:
    """Return the device of a rank of this machine.

    Raises:
        PrerequisiteError: there are more ranks than GPUs.
    """
    import torch

    from bench.generation.checkpoint import pick_device

    chosen = pick_device(device)
    if not chosen.startswith("cuda"):
        return chosen
    count = torch.cuda.device_count()
    if rank >= count:
        raise PrerequisiteError(
            f"rank {rank} has no GPU: {count} can be seen", fix=f"take --ranks {count}"
        )
    torch.cuda.set_device(rank)
    return f"cuda:{rank}"


def main() -> None:
    """Be one rank: do the job in the folder that is the argument, and leave there what came of it.

    The ways out end the process at once: a group of processes of which one failed cannot be closed.
    """
    place = Path(sys.argv[1])
    channel = RankChannel()
    job = read_json(place / "job.json")
    sys.path += [entry for entry in job["sys_path"] if entry not in sys.path]
    log_to_stderr(job["log_level"] if channel.rank == 0 else logging.ERROR)
    step = step_from_json(job["step"])
    assert isinstance(step, RankedStep)
    told: dict[str, Any] = {}
    try:
        with watched():
            store = watching(Store(Path(job["store"])), modules_of(step.sources), step.sources)
            for source in step.sources:
                require_unchanged(source)
            runtime = Runtime(**job["runtime"], progress=channel.progress)
            local = int(os.environ["LOCAL_RANK"])
            runtime = replace(runtime, device=_own_device(runtime.device, local))
            told["trained"] = asdict(step.train_in(Path(job["folder"]), store, runtime))
    except BaseException as error:  # nobody interrupts a rank: it is the plug-in's
        told = {"failed": asdict(failure_of(error, step.calls))}
    told["observed"] = SEEN.to_json()
    own = place / f"rank-{channel.rank}.json"
    own.with_suffix(".tmp").write_text(json.dumps(told), encoding="utf-8")
    own.with_suffix(".tmp").replace(own)
    sys.stderr.flush()
    end_process(0 if "trained" in told else 1)


if __name__ == "__main__":
    main()
