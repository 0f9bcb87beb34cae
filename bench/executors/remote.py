"""What runs on a machine of a cluster: a worker process. Sent there as it stands, by value."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_GRACE_SECONDS = 5.0


class Host:
    """One worker process on this machine; its lines are handed on. The body of a Ray actor.

    `start`, `step` and `close` are called one after another, `receive` beside them.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()

    def start(self, first: Mapping[str, Any], variables: Mapping[str, str], folder: str) -> None:
        """Start the process, in a folder if there is one here, with variables beside its own."""
        from bench.executors.pool import worker_environment

        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.executors.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**worker_environment(), **variables},
            cwd=folder if Path(folder).is_dir() else None,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        readers = [
            threading.Thread(target=self._read, args=(stream, kind), daemon=True)
            for kind, stream in (("out", self._process.stdout), ("err", self._process.stderr))
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._end, args=(readers,), daemon=True).start()
        self._write(first)

    def step(self, step: Mapping[str, Any]) -> None:
        """Give the process a step; the GPUs that this actor has are for its ranks."""
        gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        self._write({"step": step, "gpus": gpus if len(gpus) > 1 else []})

    def receive(self) -> list[tuple[str, str]]:
        """Return lines as they come, at least one: of `"out"`, `"err"`, at last `"end"`, a code."""
        found = [self._lines.get()]
        while not self._lines.empty():
            found.append(self._lines.get())
        return found

    def close(self) -> None:
        """End the process: by closing its input, then by force."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its end is told by `receive`
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _read(self, stream: IO[str], kind: str) -> None:
        while line := stream.readline(1 << 24):
            self._lines.put((kind, line))

    def _end(self, readers: list[threading.Thread]) -> None:
        assert self._process is not None
        code = self._process.wait()
        for reader in readers:
            reader.join(_GRACE_SECONDS)
        self._lines.put(("end", str(code)))
