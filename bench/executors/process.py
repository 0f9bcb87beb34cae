"""A worker process: told of steps by lines of JSON, and heard line by line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bench.environment import keep_freed_memory

_GRACE_SECONDS = 5.0
_LONGEST_LINE = 1 << 24


class WorkerProcess:
    """One process of `bench.executors.worker`.

    Args:
        environment: its variables, see `worker_environment`.
        folder: where it works; None takes this process's.
        heard: whether what it writes to its standard error is heard too, by `errors`, and not
            written where this process writes its own.
    """

    def __init__(
        self, environment: Mapping[str, str], *, folder: Path | None = None, heard: bool = False
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.executors.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if heard else None,
            env=dict(environment),
            cwd=folder,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; the death of the process is seen by who hears it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield the lines it writes, until it has ended."""
        yield from _lines(self.process.stdout)

    def errors(self) -> Iterator[str]:
        """Yield the lines it writes to its standard error, until it has ended."""
        yield from _lines(self.process.stderr)

    def close(self) -> None:
        """Close its input, which ends it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def stop(self) -> None:
        """End it: by closing its input, then by force."""
        self.close()
        try:
            self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _lines(stream: IO[str] | None) -> Iterator[str]:
    assert stream is not None
    while line := stream.readline(_LONGEST_LINE):
        yield line


def worker_environment(gpu: str | None = None) -> dict[str, str]:
    """Return the variables of a worker: one thread, sleeping while it waits; freed memory is kept;
    the folder this package was loaded from; and the one GPU it sees, where it is given one.
    """
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join(paths),
        "TOKENIZERS_PARALLELISM": "false",
        **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}),
    }
    keep_freed_memory(found)
    return found
