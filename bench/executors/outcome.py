"""What an executor tells while it works, and what it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.steps.step import Step

EventKind = Literal["started", "progress", "done", "failed", "skipped"]

_TICK = 1e-6  # seconds


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something happened to a step.

    Attributes:
        kind: `skipped` where a step is not made because what it is made from failed.
        step: the step.
        seconds: since it started.
        done, total: of a step in progress, its parts.
        message: why it failed.
        finished, steps: how many steps of the run are settled, of how many.
        seconds_left: estimate for the rest of the run; None where nothing is known to be left.
    """

    kind: EventKind
    step: Step
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    message: str = ""
    finished: int = 0
    steps: int = 0
    seconds_left: float | None = None


Listener = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a step is not there.

    Attributes:
        message: what happened.
        exit_code: of the command, by the kind of error.
        cause: id of the step whose failure it follows from; its own id where it failed itself.
        trace: the traceback of an unexpected error.
    """

    message: str
    exit_code: int
    cause: str
    trace: str | None = None


@dataclass(kw_only=True)
class Outcome:
    """What a run left: ids made, failures by id."""

    made: list[str] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0; 3 when nothing but prerequisites is missing; else 1."""
        codes = {failure.exit_code for failure in self.causes.values()}
        return (codes.pop() if codes == {3} else 1) if codes else 0

    @property
    def was_complete(self) -> bool:
        """Whether all was there before."""
        return not self.made and not self.failures

    @property
    def causes(self) -> dict[str, Failure]:
        """The steps that failed themselves."""
        return {key: failure for key, failure in self.failures.items() if failure.cause == key}

    def dependents(self, cause: str) -> int:
        """Return how many steps were not made because `cause` failed."""
        return sum(1 for failure in self.failures.values() if failure.cause == cause) - 1


class Tally:
    """Tells a listener of events, with how far the whole run is.

    Args:
        seconds: estimated seconds by id, of the steps to be made.
        jobs: worker processes.
        listener: told of every event.
    """

    def __init__(self, seconds: Mapping[str, float], *, jobs: int, listener: Listener) -> None:
        self._estimates = {key: _ticks(value) for key, value in seconds.items()}
        self._left = dict(self._estimates)
        # kept beside the entries, for an event must not cost a look at all steps; whole numbers,
        # so that they end at nothing, however many were added and taken away
        self._all = self._ahead = sum(self._left.values())
        self._settled: set[str] = set()
        self._jobs = jobs
        self._listener = listener
        self._began = time.monotonic()

    def tell(
        self,
        kind: EventKind,
        step: Step,
        *,
        seconds: float = 0.0,
        done: int = 0,
        total: int = 0,
        message: str = "",
    ) -> None:
        """Take in what happened, and tell it; the arguments are fields of `Event`."""
        if step.id not in self._estimates:
            self._estimates[step.id] = _ticks(step.seconds)
            self._all += self._estimates[step.id]
        if kind in ("started", "progress"):  # a step may be made once more
            self._settled.discard(step.id)
            left = round((1.0 - done / max(total, 1)) * self._estimates[step.id])
        else:
            self._settled.add(step.id)
            left = 0
        self._ahead += left - self._left.get(step.id, 0)
        self._left[step.id] = left
        event = Event(
            kind=kind,
            step=step,
            seconds=seconds,
            done=done,
            total=total,
            message=message,
            finished=len(self._settled),
            steps=len(self._left),
            seconds_left=self._seconds_left(),
        )
        self._listener(event)

    def _seconds_left(self) -> float | None:
        """Return the time to go: the estimate of what is left, scaled by how it went so far."""
        if self._ahead <= 0:
            return None
        done = self._all - self._ahead
        elapsed = time.monotonic() - self._began
        rate = elapsed * self._jobs / (done * _TICK) if done > 0.1 * self._all else 1.0
        return self._ahead * _TICK * rate / self._jobs


def _ticks(seconds: float) -> int:
    return round(seconds / _TICK)
