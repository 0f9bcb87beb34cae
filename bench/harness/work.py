"""How the work is done, and the one place where it is started; no number depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.api.errors import UsageError
from bench.environment import cuda_requested, visible_gpus
from bench.executors.local import run_graph
from bench.executors.outcome import Listener, Outcome, ignore
from bench.executors.schedule import complete_steps, with_damaged
from bench.spec.head import ProfileHead
from bench.steps.graph import Graph
from bench.store import Store


@dataclass(frozen=True, kw_only=True)
class Work:
    """How the work is done.

    Attributes:
        jobs: worker processes, at most; None means one per core, or one per GPU.
        gpus: GPUs that are used, at most; None means all that are visible. Each worker sees one.
        device: `"cpu"`, `"cuda"`, `"auto"`, or None for the profile's.
        on_event: told of all that happens, as a `bench.executors.outcome.Event` each.

    Raises:
        UsageError: there would be no worker.
    """

    jobs: int | None = None
    gpus: int | None = None
    device: str | None = None
    on_event: Listener = ignore

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}; expected at least 1.")

    def on(self, profile: ProfileHead) -> str | None:
        """Return the device, None for whatever is there."""
        device = self.device or profile.device
        return None if device == "auto" else device

    def job_count(self, profile: ProfileHead) -> int:
        """Return the number of worker processes.

        Raises:
            UsageError: there are not as many GPUs.
        """
        gpus = self.gpu_names(profile)
        if self.jobs is not None:
            return self.jobs
        if self.on(profile) != "cpu" and cuda_requested():
            return max(1, len(gpus))
        affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
        return len(affinity(0)) if affinity else os.cpu_count() or 1

    def gpu_names(self, profile: ProfileHead) -> tuple[str, ...]:
        """Return what the GPUs that are used are called, see `bench.environment.visible_gpus`.

        Raises:
            UsageError: more are asked for than there are, or none are, or the device is the CPU.
        """
        on_cpu = self.on(profile) == "cpu"
        launched = int(os.environ.get("WORLD_SIZE", "1")) > 1  # its launcher gives out the GPUs
        names = () if on_cpu or launched else visible_gpus()
        if self.gpus is None:
            return names
        if not 1 <= self.gpus <= len(names):
            seen = "the device is the CPU" if on_cpu else f"{len(names)} can be seen"
            raise UsageError(
                f"--gpus {self.gpus}: {seen}. Expected at least 1 and at most those there are; "
                "CUDA_VISIBLE_DEVICES says which they are."
            )
        return names[: self.gpus]

    def runtime(self, profile: ProfileHead) -> dict[str, Any]:
        """Return the fields of `bench.steps.step.Runtime`."""
        return {
            "device": self.on(profile),
            "generation_batch": profile.batch_size("generation"),
            "prediction_batch": profile.batch_size("prediction"),
        }


def execute(
    graph: Graph,
    targets: Sequence[str],
    store: Store,
    work: Work,
    profile: ProfileHead,
) -> Outcome:
    """Make the targets and what they need, in this process or in several.

    Args:
        graph: the steps.
        targets: ids wanted.
        store: where artifacts are.
        work: how.
        profile: has the device and the batch sizes.

    Returns:
        What was made and what failed; `was_complete` where nothing was to be done.

    Raises:
        UsageError: the number of jobs is not positive.
        KeyboardInterrupt: after all workers have ended.
    """
    jobs = work.job_count(profile)
    complete = complete_steps(graph, targets, store)
    if not graph.needed(with_damaged(graph, targets, store), complete):
        return Outcome()
    return run_graph(
        graph,
        targets,
        store,
        jobs=jobs,
        gpus=work.gpu_names(profile),
        runtime=work.runtime(profile),
        listener=work.on_event,
        complete=complete,
    )
