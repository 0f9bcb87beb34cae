"""Workers on the machines of a Ray cluster: each in an actor that has the cores or GPUs it takes.

A worker is the same process as on one machine (`bench.executors.worker`); Ray places it, passes its
lines on, and tells when its machine is lost. What a lost machine was at is begun again elsewhere,
`RETRIES` times; a step that fails is a failed step, wherever it ran. No number depends on where.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.api.exits import Fault
from bench.executors import remote
from bench.executors.cluster import Cluster
from bench.executors.plugins import foreign, plugins_of
from bench.executors.pool import Advance, Told, death, first_message, message_of, told_by
from bench.steps.step import DivisibleStep, Runtime, Step, step_to_json
from bench.store import MANIFEST, Store
from bench.store.provenance import is_secret

LOG = logging.getLogger("bench.executors")

RETRIES = 2
"""How often a step is begun again because the machine it ran on was lost."""

_STDERR = 2
_LOW = "low on memory"
"""Ray's words for what it ends so that its machine does not run out of memory."""
_GRACE_SECONDS = 8.0
_LOOK_SECONDS = 2.0
_SEEN_SECONDS = 60.0
_PASSED_ON = ("HF_", "TRANSFORMERS_", "DIFFUSERS_", "TQDM_", "NO_COLOR")


class _Remote:
    """One actor and the step it is at."""

    def __init__(
        self, cluster: Cluster, first: Mapping[str, Any], messages: queue.Queue[Any], options: Any
    ) -> None:
        self.takes: int = int(options["num_gpus"] or options["num_cpus"])
        self.step: Step | None = None
        self.imported: frozenset[str] = frozenset()
        self.code = 0
        self.lost: str | None = None
        self._ray = cluster.ray
        self._messages = messages
        groups = {"in": 1, "out": 1}
        actor = self._ray.remote(concurrency_groups=groups)(remote.Host)
        self._host = actor.options(max_restarts=0, **options).remote()
        self._started = self._call("start", first, _variables(), str(Path.cwd()))
        threading.Thread(target=self._serve, daemon=True).start()

    def give(self, step: Step) -> None:
        """Send a step; the loss of the actor is reported by the thread that listens."""
        self.step = step
        self.imported |= plugins_of(step)
        self._call("step", step_to_json(step))

    def _call(self, name: str, *args: Any) -> Any:
        method = getattr(self._host, name).options(concurrency_group="in")
        return method.remote(*args)

    def _serve(self) -> None:
        receive = self._host.receive.options(concurrency_group="out")
        try:
            self._ray.get(self._started)
            while True:
                for kind, text in self._ray.get(receive.remote()):
                    if kind == "err":
                        os.write(_STDERR, text.encode())  # where workers here write it, too
                    elif kind == "end":
                        self.code = int(text)
                        self._messages.put((self, None))
                        return
                    elif (message := message_of(text)) is not None:
                        self._messages.put((self, message))
        except Exception as error:  # the actor, its machine or the connection is gone
            self.lost = " ".join(str(error).split()) or type(error).__name__
            self._messages.put((self, None))

    def suits(self, step: Step) -> bool:
        """Whether it is idle, and has imported no plug-in but those of a step."""
        return self.step is None and self.lost is None and self.imported <= plugins_of(step)

    def close(self) -> Any:
        """Ask the process to end; returns what tells when it has."""
        return None if self.lost else self._call("close")

    def stop(self, closed: Any) -> None:
        """End the actor, at most some seconds after its process was asked to end."""
        if closed is not None:
            self._ray.wait([closed], timeout=_GRACE_SECONDS)
        self._ray.kill(self._host, no_restart=True)


class RayPool:
    """Context manager over workers of a cluster; all have ended when the block is left.

    Args:
        cluster: to which this process is connected.
        size: cores, or GPUs, that are used at most.
        store: root of the store, on storage that all machines share.
        runtime: how the work is done.
        gpu: whether each worker has a GPU of its own; else a core.
    """

    def __init__(
        self, cluster: Cluster, size: int, *, store: Path, runtime: Runtime, gpu: bool
    ) -> None:
        self._cluster = cluster
        self._size = size
        self._unit = "GPU" if gpu else "CPU"
        self._store = Store(Path(store).absolute())
        self._first = first_message(store, runtime)
        self._runtime = runtime
        self._messages: queue.Queue[Any] = queue.Queue()
        self._workers: list[_Remote] = []
        self._again: list[Step] = []
        self._losses: dict[str, int] = {}
        self._there, self._looked = size, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop(self._workers)

    @property
    def idle(self) -> bool:
        """Whether another step can be started now, if it takes one place."""
        return not self._again and self._free() > 0

    def fits(self, step: Step) -> bool:
        """Whether all places that a step takes are free now."""
        return self._wanted(step) <= self._free()

    def suits(self, step: Step) -> bool:
        """Whether a worker that is idle now can make a step; `start` replaces one otherwise."""
        return self._suiting(step) is not None

    def start(self, step: Step) -> None:
        """Give a step to an idle worker, starting one where none suits it."""
        worker = self._suiting(step)
        if worker is None:
            self._make_room(self._wanted(step))
            worker = _Remote(self._cluster, self._first, self._messages, self._options(step))
            self._workers.append(worker)
        worker.give(step)

    def wait(self) -> tuple[Step, Told]:
        """Return the next message and the step it is about; a dead worker is a failed step."""
        while True:
            self._begin_again()
            try:
                worker, message = self._messages.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._make_room(0)
                continue
            if worker not in self._workers:
                continue  # it was ended here
            step: Step | None = worker.step
            if message is None:
                self._stop([worker])
                fault = None if step is None else self._ending(worker, step)
                if step is not None and fault is not None:
                    return step, fault
                continue
            told = told_by(message)
            if not isinstance(told, Advance):
                worker.step = None
                worker.imported |= foreign(message.get("imported", ()))
            if step is not None:
                if told is None:
                    self._wait_until_seen(step)
                return step, told

    def _ending(self, worker: _Remote, step: Step) -> Fault | None:
        """Return the failure of a step whose worker has ended; None where it is begun again."""
        if worker.lost is None:
            return death(worker.code)
        if _LOW in worker.lost:
            return _failure("was ended by Ray, for its machine ran out of memory")
        self._looked = 0.0  # there may be fewer places now
        losses = self._losses[step.id] = self._losses.get(step.id, 0) + 1
        if losses > RETRIES:
            return _failure(f"was lost {losses} times with its machine (last: {worker.lost[:200]})")
        LOG.warning(
            "the machine or the worker that was at %s is lost; it is begun again elsewhere (%d of "
            "%d times)", step.label or step.id, losses, RETRIES,
        )  # fmt: skip
        self._again.append(step)
        return None

    def _begin_again(self) -> None:
        while self._again:
            if self._capacity() < self._wanted(self._again[0]):
                if any(worker.step is not None for worker in self._workers):
                    return
                LOG.warning("no machine of the cluster has room for what is left; waiting for one")
                time.sleep(_LOOK_SECONDS)
                self._looked = 0.0
                continue
            if not self.fits(self._again[0]):
                return
            self.start(self._again.pop(0))

    def _wanted(self, step: Step) -> int:
        """How many cores or GPUs a step takes; on cores ranks may be more than there are."""
        places = step.places(self._runtime)
        return places if self._unit == "GPU" else min(places, self._size)

    def _capacity(self) -> int:
        """Return how many there are to use: fewer since a machine was lost."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._there = self._cluster.units(self._unit)
            self._looked = time.monotonic()
        return min(self._size, self._there)

    def _free(self) -> int:
        busy = sum(worker.takes for worker in self._workers if worker.step is not None)
        return self._capacity() - busy

    def _suiting(self, step: Step) -> _Remote | None:
        wanted = self._wanted(step)
        found = (w for w in self._workers if w.takes == wanted and w.suits(step))
        return next(found, None)

    def _options(self, step: Step) -> dict[str, int]:
        wanted = self._wanted(step)
        return {"num_cpus": wanted, "num_gpus": wanted if self._unit == "GPU" else 0}

    def _make_room(self, wanted: int) -> None:
        """End idle workers, which hold what they took, until so much is free for a new one, and
        nothing that was started waits for a place.
        """
        idle = [worker for worker in self._workers if worker.step is None]
        while idle and sum(w.takes for w in self._workers) + wanted > self._capacity():
            self._stop([idle.pop(0)])

    def _stop(self, workers: list[_Remote]) -> None:
        closing = [(worker, worker.close()) for worker in workers]
        for worker, closed in closing:
            worker.stop(closed)
            self._workers.remove(worker)

    def _wait_until_seen(self, step: Step) -> None:
        """Shared storage may show a moment later what another machine wrote."""
        until = time.monotonic() + _SEEN_SECONDS
        path = self._store.root / step.id / MANIFEST
        while not path.is_file() and time.monotonic() < until:
            if isinstance(step, DivisibleStep) and step.is_joined(self._store):
                return
            path.parents[1].stat()  # so that the folder is asked for anew
            time.sleep(0.1)


def _failure(how: str) -> Fault:
    return Fault(message=f"its worker {how}; run the same command again to continue")


def _variables() -> dict[str, str]:
    """Return the variables of this process that workers elsewhere need too, no secrets."""
    return {
        name: text
        for name, text in os.environ.items()
        if name.startswith(_PASSED_ON) and not is_secret(name)
    }
