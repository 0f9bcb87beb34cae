"""A small artifact that is made in several resumable steps, and a disk that fails on command."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.store import Artifact, Disk, Store, Work

KIND, NAME = "pairs", "micro"
IDENTITY = {"lr": 1e-5, "steps": 3, "data": {"seed": 0}}


class CountingDisk(Disk):
    """Records each change; at change number `at` (from 0) calls `fault(path)` first."""

    def __init__(self, at: int = -1, fault: Callable[[Path], None] | None = None) -> None:
        self.calls: list[str] = []
        self.at = at
        self.fault = fault

    def before(self, operation: str, path: Path) -> None:
        number = len(self.calls)
        self.calls.append(operation)
        if number == self.at and self.fault:
            self.fault(path)


def make(work: Work) -> None:
    """Shards that are kept when complete, a checkpoint that is scratch, and a summary."""
    for index in range(2):
        name = f"shards/{index}.bin"
        if not (work.path / name).exists():
            work.write_bytes(name, bytes([index]) * 5000)
    work.write_bytes("checkpoints/last.bin", b"scratch")
    work.write_json("summary.json", {"shards": 2, "value": 0.5})


class Micro:
    """Builds the micro artifact."""

    make = staticmethod(make)

    def build(self, root: Path, disk: Disk | None = None, **details: Any) -> Artifact:
        store = Store(root, disk=disk or Disk(), lock_timeout_seconds=20)
        return store.build(
            KIND, NAME, IDENTITY, make, exclude=("checkpoints/*",), config={"jobs": 2}, **details
        )

    def path(self, root: Path) -> Path:
        return Store(root).path(KIND, NAME, IDENTITY)

    def find(self, root: Path) -> Artifact | None:
        return Store(root).find(KIND, NAME, IDENTITY)

    def status(self, root: Path) -> Any:
        return Store(root).status(KIND, NAME, IDENTITY)

    def payload(self, artifact: Artifact) -> dict[str, bytes]:
        artifact.verify()
        return {name: (artifact.path / name).read_bytes() for name in artifact.files}


@pytest.fixture
def micro() -> Micro:
    return Micro()


@pytest.fixture
def counting_disk() -> type[CountingDisk]:
    return CountingDisk


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], int]:
    """Run a function in a forked process; returns its exit code, or minus the signal."""

    def run(function: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.fixture
def kill_self() -> Callable[[Path], None]:
    def kill(path: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    return kill
