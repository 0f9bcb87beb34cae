"""What runs on a machine of a cluster: a worker process, whose lines are handed on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.environment import visible_gpus
from bench.executors.process import WorkerProcess, worker_environment

_GRACE_SECONDS = 5.0


class Host:
    """One worker process on this machine. The body of a Ray actor.

    `start`, `step` and `close` are called one after another, `receive` beside them.
    """

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()

    def start(self, first: Mapping[str, Any], variables: Mapping[str, str], folder: str) -> None:
        """Start the process, in a folder if there is one here, with variables beside its own."""
        here = Path(folder) if Path(folder).is_dir() else None
        environment = {**worker_environment(), **variables}
        worker = self._worker = WorkerProcess(environment, folder=here, heard=True)
        threads = [
            threading.Thread(target=self._hear, args=(kind, lines), daemon=True)
            for kind, lines in (("out", worker.lines()), ("err", worker.errors()))
        ]
        for thread in threads:
            thread.start()
        threading.Thread(target=self._end, args=(worker, threads), daemon=True).start()
        worker.send(first)

    def step(self, step: Mapping[str, Any]) -> None:
        """Give the process a step; the GPUs that this actor has are for its ranks."""
        assert self._worker is not None
        gpus = visible_gpus()
        self._worker.send({"step": step, "gpus": gpus if len(gpus) > 1 else []})

    def receive(self) -> list[tuple[str, str]]:
        """Return lines as they come, at least one: of `"out"`, `"err"`, at last `"end"`, a code."""
        found = [self._lines.get()]
        while not self._lines.empty():
            found.append(self._lines.get())
        return found

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.stop()

    def _hear(self, kind: str, lines: Iterator[str]) -> None:
        for line in lines:
            self._lines.put((kind, line))

    def _end(self, worker: WorkerProcess, threads: list[threading.Thread]) -> None:
        code = worker.process.wait()
        for thread in threads:
            thread.join(_GRACE_SECONDS)
        self._lines.put(("end", str(code)))
