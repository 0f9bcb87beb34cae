"""Steps that train: in this process, or by several that start for it, the ranks.

The process that was given the step keeps its lease and publishes it; ranks fill the working folder
and know no lease. They are started by `bench.training.ranks`, as `python -m bench.steps.rank JOB`,
and leave what they have to say in a file beside the job, in a folder that is not published.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.api.errors import BenchError, CorruptArtifactError, UsageError
from bench.api.exits import Fault, how_ended
from bench.api.observed import SEEN
from bench.read.json_text import read_json
from bench.steps.step import Runtime, Step, step_to_json
from bench.store import Store
from bench.training import ranks

LOG = logging.getLogger("bench.steps")

RANK = "bench.steps.rank"
"""The program that a rank runs."""
SCRATCH = "ranks"
"""In the working folder, where a job and what ranks say of it lie while they work."""


class RankError(BenchError):
    """A rank failed, or died; the exit code is that of its own error."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training left in its working folder.

    Attributes:
        steps: optimiser steps done.
        exports: steps whose networks were exported.
        seconds: time spent in them, over all resumed runs.
        peak_memory_mb: of the process that took most, MiB.
        ranks: processes it was trained by, one number for each time that changed.
    """

    steps: int
    exports: tuple[int, ...]
    seconds: float
    peak_memory_mb: float
    ranks: tuple[int, ...]


class Processes(Protocol):
    """What is asked of `bench.training.ranks.Ranks` once they have ended."""

    count: int

    def process_of(self, rank: int) -> str:
        """Return how a rank is called."""


@dataclass(frozen=True, kw_only=True)
class RankedStep(Step):
    """A step whose work several processes can share, each with a device of its own.

    The result of any number of them is that of one up to float rounding (1e-5 relative).
    """

    def places(self, runtime: Runtime) -> int:
        """Return how many processes work at it."""
        return runtime.ranks

    @property
    @abstractmethod
    def shares(self) -> int:
        """Into how many shares the work can be cut, at most."""

    @abstractmethod
    def train_in(self, folder: Path, store: Store, runtime: Runtime) -> Trained:
        """Train in this process, one of `runtime.ranks`, into a working folder."""

    def require_ranks(self, count: int) -> None:
        """Make sure that each of `count` ranks has something to do (UsageError)."""
        if count > self.shares:
            raise UsageError(
                f"{self.label or self.id}: its batch is {self.shares} pairs, for {count} ranks; "
                f"expected at least one pair for each. Take --ranks {self.shares} or fewer."
            )

    def train_on_ranks(self, folder: Path, store: Store, runtime: Runtime) -> Trained:
        """Train into a working folder by as many ranks as `runtime` says.

        Raises:
            UsageError: there are more ranks than pairs in a batch.
            RankError: a rank failed or died; what was saved before can be continued by any number
                of them.
        """
        if runtime.ranks == 1:
            return self.train_in(folder, store, runtime)
        self.require_ranks(runtime.ranks)
        place = folder.absolute() / SCRATCH
        shutil.rmtree(place, ignore_errors=True)  # of an attempt that was killed
        place.mkdir()
        job = {
            "step": step_to_json(self),
            "folder": str(folder.absolute()),
            "store": str(store.root.absolute()),
            "runtime": runtime.to_json(),
            "sys_path": [entry or str(Path.cwd()) for entry in sys.path],
            "log_level": logging.getLogger("bench").getEffectiveLevel(),
        }
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        try:
            started = ranks.Ranks(
                RANK, str(place), count=runtime.ranks, folder=place, gpus=runtime.gpus
            )
            with started:
                ending = started.wait(runtime.progress)
            return result_of(place, started, ending)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def result_of(place: Path, started: Processes, ending: ranks.Ending) -> Trained:
    """Return what the ranks left in a folder.

    Raises:
        RankError: what made the first of them fail: an error that is to be told as it is, a death
            from outside, silence, or what nobody expected. The others fail of that one's absence.
        CorruptArtifactError: an artifact that a rank read is damaged.
    """
    told = [_told(place, rank) for rank in range(started.count)]
    for found in told:
        if "observed" in found:
            SEEN.include(found["observed"])
    failures = {n: Fault(**found["failed"]) for n, found in enumerate(told) if "failed" in found}
    for failure in failures.values():
        if failure.trace is None:
            raise _error(failure.message, failure)
    for rank, code in ending.ended.items():
        if rank not in failures:
            raise RankError(f"{started.process_of(rank)} {how_ended(code)}")
    if ending.silent is not None:
        raise RankError(
            f"{started.process_of(ending.silent)} gave no sign of life for "
            f"{ranks.SILENT_SECONDS:.0f} s and was ended, as the others were; run the same command "
            "again to continue"
        )
    for rank, failure in failures.items():
        LOG.debug("%s", failure.trace)
        raise _error(f"{started.process_of(rank)}: {failure.message}", failure)
    if ending.code or not all("trained" in found for found in told):
        raise RankError(f"the launcher of its {started.count} ranks {how_ended(ending.code)}")
    results = [found["trained"] for found in told]
    peak = max(float(found["peak_memory_mb"]) for found in results)
    first = {**results[0], "peak_memory_mb": peak}
    lists = {name: tuple(first[name]) for name in ("exports", "ranks")}
    return Trained(**{**first, **lists})


def _error(message: str, failure: Fault) -> BenchError:
    if failure.damaged is not None:
        return CorruptArtifactError(message, artifact_path=Path(failure.damaged))
    return RankError(message, exit_code=failure.exit_code)


def _told(place: Path, rank: int) -> dict[str, Any]:
    """Return what a rank left; nothing where it was ended."""
    with suppress(BenchError, OSError, ValueError):
        return dict(read_json(place / f"rank-{rank}.json"))
    return {}
