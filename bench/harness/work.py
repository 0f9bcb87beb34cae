"""How the work is done, and the one place where it is started; no number depends on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypedDict

from bench.api.errors import UsageError
from bench.environment import cuda_requested, launched, visible_gpus
from bench.executors.cluster import AUTO, Cluster
from bench.executors.local import run_graph
from bench.executors.outcome import Listener, Outcome, ignore
from bench.executors.ray_pool import RayPool
from bench.executors.schedule import complete_steps, with_damaged
from bench.spec.head import ProfileHead
from bench.steps.graph import Graph
from bench.steps.ranks import RankedStep
from bench.steps.step import Runtime
from bench.store import Store


class WorkOptions(TypedDict, total=False):
    """How the work of one part is done: fields of `Work`."""

    jobs: int | None
    gpus: int | None
    device: str | None
    on_event: Listener
    executor: Literal["local", "ray"]
    ray_address: str | None


class TrainingOptions(WorkOptions, total=False):
    """How the work of a training is done: fields of `Work`."""

    ranks: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """How the work is done.

    Attributes:
        jobs: worker processes, at most; None means one per core, or one per GPU.
        gpus: GPUs that are used, at most; None means all that are visible. Each worker sees one.
        device: `"cpu"`, `"cuda"`, `"auto"`, or None for the profile's.
        on_event: told of all that happens, as a `bench.executors.outcome.Event` each.
        ranks: processes that share each training.
        executor: `"ray"` for workers on the machines of a cluster that is there already.
        ray_address: of its head, `host:port`; None where this machine is a part of it.

    Raises:
        UsageError: there would be no worker, an address is given where nothing asks for it, or
            this process is one of several that a launcher started.
    """

    jobs: int | None = None
    gpus: int | None = None
    device: str | None = None
    on_event: Listener = ignore
    ranks: int = 1
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.ray_address is not None and self.executor != "ray":
            raise UsageError("--ray-address says where a cluster is; add --executor ray.")
        self._refuse_launched()
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}; expected at least 1.")
        if self.ranks < 1:
            raise UsageError(f"--ranks {self.ranks}; expected at least 1.")

    @staticmethod
    def _refuse_launched() -> None:
        """Refuse to be one of several: one would hold the lease that all others wait for."""
        found = launched()
        if found:
            told = ", ".join(f"{name}={value}" for name, value in found.items())
            size = next(iter(found.values()))
            raise UsageError(
                f"a launcher started this command {size} times ({told}), and they would wait for "
                "each other for ever. Start it once, without a launcher; with --ranks "
                f"{size}, bench run and bench train start {size} processes for each training."
            )

    def on(self, profile: ProfileHead) -> str | None:
        """Return the device, None for whatever is there."""
        device = self.device or profile.device
        return None if device == "auto" else device

    def job_count(self, profile: ProfileHead) -> int:
        """Return the number of worker processes.

        Raises:
            UsageError: there are not as many GPUs.
        """
        if self.executor == "ray":
            with self.cluster() as cluster:
                return self._places(cluster, profile)[0]
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
        names = () if on_cpu else visible_gpus()
        if self.gpus is None:
            return self._for_ranks(names)
        if not 1 <= self.gpus <= len(names):
            seen = "the device is the CPU" if on_cpu else f"{len(names)} can be seen"
            raise UsageError(
                f"--gpus {self.gpus}: {seen}. Expected at least 1 and at most those there are; "
                "CUDA_VISIBLE_DEVICES says which they are."
            )
        return self._for_ranks(names[: self.gpus])

    @contextmanager
    def cluster(self) -> Iterator[Cluster]:
        """Connect to the cluster for a while; for exceptions see `Cluster`."""
        cluster = Cluster(self.ray_address or AUTO)
        try:
            yield cluster
        finally:
            cluster.close()

    def pool(self, cluster: Cluster, profile: ProfileHead, store: Store) -> tuple[int, RayPool]:
        """Return the places that are used on a cluster, and workers for them.

        Raises:
            BenchError: its machines are not alike.
            UsageError: there are not as many GPUs.
        """
        size, gpu = self._places(cluster, profile)
        cluster.require_alike(store.root.absolute())
        runtime = self.runtime(profile)
        return size, RayPool(cluster, size, store=store.root, runtime=runtime, gpu=gpu)

    def _places(self, cluster: Cluster, profile: ProfileHead) -> tuple[int, bool]:
        """Return how many cores or GPUs of a cluster are used, and whether it is GPUs."""
        on_cpu = self.on(profile) == "cpu"
        gpus = 0 if on_cpu else cluster.units("GPU")
        if self.gpus is not None and not 1 <= self.gpus <= gpus:
            seen = "the device is the CPU" if on_cpu else f"the cluster has {gpus}"
            raise UsageError(f"--gpus {self.gpus}: {seen}. Expected at least 1, at most those.")
        if not gpus:
            return self.jobs or max(1, cluster.units("CPU")), False
        most = cluster.most_on_one("GPU")
        if self.ranks > most:
            raise UsageError(
                f"--ranks {self.ranks}: a machine of the cluster has {most} GPUs at most, and the "
                f"ranks of a training are on one machine. Take --ranks {most} or fewer."
            )
        size = min(self.jobs or gpus, self.gpus or gpus)
        if size < self.ranks:
            raise UsageError(f"--ranks {self.ranks}: {size} GPUs are used. Take as many or more.")
        return size, True

    def _for_ranks(self, gpus: tuple[str, ...]) -> tuple[str, ...]:
        """Return the GPUs; each rank has one of its own (UsageError)."""
        if gpus and self.ranks > len(gpus):
            raise UsageError(
                f"--ranks {self.ranks}: there are {len(gpus)} GPUs to use, and each rank needs one "
                f"of its own. Take --ranks {len(gpus)} or fewer."
            )
        if gpus and self.jobs is not None and self.jobs < self.ranks:
            raise UsageError(
                f"--ranks {self.ranks} with --jobs {self.jobs}: a training takes the GPUs of as "
                f"many workers as it has ranks. Take --jobs {self.ranks} or more."
            )
        return gpus

    def runtime(self, profile: ProfileHead) -> Runtime:
        """Return how steps are made."""
        return Runtime(
            device=self.on(profile),
            generation_batch=profile.batch_size("generation"),
            prediction_batch=profile.batch_size("prediction"),
            ranks=self.ranks,
        )


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
        UsageError: a training has fewer pairs in a batch than ranks, or no cluster answers.
        BenchError: the cluster's machines are not alike.
        KeyboardInterrupt: after all workers have ended.
    """
    jobs = work.job_count(profile) if work.executor == "local" else 0
    complete = complete_steps(graph, targets, store)
    needed = graph.needed(with_damaged(graph, targets, store), complete)
    if not needed:
        return Outcome()
    for key in needed:
        step = graph[key]
        if isinstance(step, RankedStep):
            step.require_ranks(work.ranks)
    make = partial(
        run_graph,
        graph,
        targets,
        store,
        runtime=work.runtime(profile),
        listener=work.on_event,
        complete=complete,
    )
    if work.executor == "local":
        return make(jobs=jobs, gpus=work.gpu_names(profile))
    with work.cluster() as cluster:
        size, pool = work.pool(cluster, profile, store)
        return make(jobs=size, elsewhere=pool)
