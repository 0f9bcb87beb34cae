"""Worker processes that end with this one."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from bench.api.exits import Fault, how_ended
from bench.api.messages import Kinds, read_message
from bench.executors.plugins import foreign, plugins_of
from bench.executors.process import WorkerProcess, worker_environment
from bench.steps.step import Runtime, Step, step_to_json

_LOOK_SECONDS = 2.0
_TEXT = (str, type(None))
_EVENTS: Kinds = {
    "progress": {"done": (int,), "total": (int,)},
    "done": {},
    "failed": {"message": (str,), "exit_code": (int,), "damaged": _TEXT, "trace": _TEXT},
}


@dataclass(frozen=True, kw_only=True)
class Advance:
    """How far a step is: parts done, of how many."""

    done: int
    total: int


Told = Advance | Fault | None
"""What is heard of a step; None: it was made."""


class Workers(Protocol):
    """What makes steps beside each other: processes of this machine, or of a cluster."""

    @property
    def idle(self) -> bool:
        """Whether another step can be started now, if it takes one place."""

    def fits(self, step: Step) -> bool:
        """Whether all places that a step takes are free now."""

    def suits(self, step: Step) -> bool:
        """Whether a worker that is idle now can make a step; `start` replaces one otherwise."""

    def start(self, step: Step) -> None:
        """Give a step to an idle worker."""

    def wait(self) -> tuple[Step, Told]:
        """Return the next message and the step it is about; a dead worker is a failed step."""


class _Worker(WorkerProcess):
    """One process and the step it is at."""

    def __init__(
        self, start: Mapping[str, Any], messages: queue.Queue[Any], place: int, gpu: str | None
    ) -> None:
        super().__init__(worker_environment(gpu))
        self.step: Step | None = None
        self.place = place
        self.places: frozenset[int] = frozenset()
        self.imported: frozenset[str] = frozenset()
        self.dead = False
        self._messages = messages
        self.send(start)
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        for line in self.lines():
            message = message_of(line)
            if message is not None:
                self._messages.put((self, message))
        self._messages.put((self, None))

    def suits(self, step: Step) -> bool:
        """Whether it is idle, and has imported no plug-in but those of a step."""
        return self.step is None and self.imported <= plugins_of(step)


class Pool:
    """Context manager over `size` workers; all have ended when the block is left.

    Args:
        size: number of processes.
        store: root of the store.
        runtime: how the work is done; without what only this process can be told.
        gpus: names of GPUs; each worker is shown one, the next one in turn.
    """

    def __init__(
        self, size: int, *, store: Path, runtime: Runtime, gpus: Sequence[str] = ()
    ) -> None:
        self._start = first_message(store, runtime)
        self._runtime = runtime
        self._size = size
        self._gpus = tuple(gpus)
        self._messages: queue.Queue[Any] = queue.Queue()
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:  # all inputs first: they end at the same time
            worker.close()
        for worker in self._workers:
            worker.stop()

    @property
    def idle(self) -> bool:
        """Whether another step can be started now, if it takes one place."""
        return bool(self._free())

    def fits(self, step: Step) -> bool:
        """Whether all places that a step takes are free now."""
        return len(self._places(step)) == self._wanted(step)

    def suits(self, step: Step) -> bool:
        """Whether a worker that is idle now can make a step; `start` replaces one otherwise."""
        return bool(self._suiting(step))

    def start(self, step: Step) -> None:
        """Give a step to an idle worker, starting a process where none suits it.

        A step of several ranks takes as many places. GPUs are cleared for them: workers that are
        idle there, and may hold memory, are ended.
        """
        places = self._places(step)
        several = len(places) > 1
        suiting = [] if several and self._gpus else self._suiting(step)
        if several and self._gpus:
            self._clear(places)
        if suiting:
            worker = suiting[0]
        else:
            self._clear(places[:1])
            gpu = self._gpu(places[0]) if self._gpus else None
            worker = _Worker(self._start, self._messages, places[0], gpu)
            self._workers.append(worker)
        worker.step = step
        worker.places = frozenset(places)
        worker.imported |= plugins_of(step)
        gpus = [self._gpu(place) for place in places] if several and self._gpus else []
        worker.send({"step": step_to_json(step), "gpus": gpus})

    def _wanted(self, step: Step) -> int:
        """How many places a step takes; on CPUs ranks may be more than there are places."""
        return min(step.places(self._runtime), self._size)

    def _free(self) -> list[int]:
        taken = {place for w in self._workers if w.step is not None for place in w.places}
        return [place for place in range(self._size) if place not in taken]

    def _suiting(self, step: Step) -> list[_Worker]:
        free = self._free()
        return [worker for worker in self._workers if worker.place in free and worker.suits(step)]

    def _places(self, step: Step) -> list[int]:
        """Return the places a step would take, its worker's first; fewer than it takes where not
        enough are free. No two of them are on one GPU.
        """
        suiting = [worker.place for worker in self._suiting(step)[:1]]
        used = {worker.place for worker in self._workers}
        order = sorted(self._free(), key=lambda place: (place not in suiting, place in used, place))
        if self._gpus:
            gpus = [self._gpu(place) for place in order]
            order = [p for number, p in enumerate(order) if gpus[number] not in gpus[:number]]
        return order[: self._wanted(step)]

    def _gpu(self, place: int) -> str:
        return self._gpus[place % len(self._gpus)]

    def _clear(self, places: Sequence[int]) -> None:
        """End the idle workers in some places."""
        for worker in [w for w in self._workers if w.step is None and w.place in places]:
            self._workers.remove(worker)
            worker.stop()

    def wait(self) -> tuple[Step, Told]:
        """Return the next message and the step it is about; a dead worker is a failed step."""
        while True:
            try:
                worker, message = self._messages.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                self._look_for_the_dead()
                continue
            step = worker.step
            if message is None:
                if worker not in self._workers:
                    continue  # its death was told already
                self._workers.remove(worker)
                worker.stop()
                if step is None:
                    continue
                return step, death(worker.process.returncode)
            told = told_by(message)
            if not isinstance(told, Advance):
                worker.step = None
                worker.imported |= foreign(message.get("imported", ()))
            if step is not None:
                return step, told

    def _look_for_the_dead(self) -> None:
        """Tell of workers that ended while something they had forked holds their output open."""
        for worker in self._workers:
            if worker.process.poll() is not None:
                if worker.dead:  # twice: what it wrote before was read meanwhile
                    self._messages.put((worker, None))
                worker.dead = True


def message_of(line: str) -> dict[str, Any] | None:
    """Return what a worker says in a line, None where it says nothing."""
    found = read_message(line, "event", _EVENTS)
    imported = [] if found is None else found.get("imported", [])
    if not isinstance(imported, list) or not all(isinstance(name, str) for name in imported):
        return None
    return found


def told_by(message: Mapping[str, Any]) -> Told:
    """Return what a message says that `message_of` took."""
    if message["event"] == "progress":
        return Advance(done=message["done"], total=message["total"])
    if message["event"] == "done":
        return None
    return Fault(**{key: message[key] for key in _EVENTS["failed"]})


def first_message(store: Path, runtime: Runtime) -> dict[str, Any]:
    """Return what every worker is told first, see `bench.executors.worker`."""
    return {
        "store": str(Path(store).absolute()),
        "runtime": runtime.to_json(),
        "sys_path": [entry or str(Path.cwd()) for entry in sys.path],
        "log_level": logging.getLogger("bench").getEffectiveLevel(),
    }


def death(code: int) -> Fault:
    """Return the failure of a step whose worker process ended with an exit code."""
    return Fault(message=f"its worker process {how_ended(code)}")
