"""The heartbeat of a lease: its holder moves a counter, a waiter watches whether it moves.

The counter stands in the lock file's second line and is written in place, through the descriptor
of the very file the holder created: a holder that lost its lease while it was suspended writes
into a removed file, never into its successor's. A waiter compares the counter with what it saw
before, by its own clock: no two clocks need agree.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import StoreError, UsageError
from bench.store.writer import Disk, is_file_at, writing_to

LOG = logging.getLogger("bench.store")

Clock = Callable[[], float]
"""Seconds from some moment on; never runs back."""

# What one look may add to a silence: a waiter that was itself suspended has not been watching.
_LONGEST_LOOK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTimes:
    """How a lease is kept and judged, in seconds.

    Attributes:
        beat_seconds: between two heartbeats.
        dead_after_seconds: a holder whose heartbeat has not moved for so long is dead.
        say_every_seconds: how often a waiter says whom it waits for.

    Raises:
        UsageError: a holder would be called dead between two beats.
    """

    beat_seconds: float = 15.0
    dead_after_seconds: float = 300.0
    say_every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < 3 * self.beat_seconds <= self.dead_after_seconds:
            raise UsageError(
                f"a heartbeat every {self.beat_seconds} s and death after "
                f"{self.dead_after_seconds} s; expected at least three beats before death."
            )


TIMES = LeaseTimes()
"""The times used where none are given."""


def beat_line(count: int) -> bytes:
    """Return the second line of a lock file: of one length, whatever the count."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return f"beat {count:010d} {now}\n".encode("ascii")


class Heartbeat:
    """Moves the counter of a lock file from a thread of its own until it is closed.

    Args:
        path: the lock file.
        descriptor: of that file, open for writing; closed by `close`.
        offset: where the counter's line begins.
        beat_seconds: between two beats.
        disk: where it is written.
    """

    def __init__(
        self, path: Path, descriptor: int, offset: int, *, beat_seconds: float, disk: Disk
    ) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        self._offset = offset
        self._seconds = beat_seconds
        self._disk = disk
        self._guard = threading.Lock()  # a closed descriptor's number may be another file's
        self._ended = threading.Event()
        threading.Thread(target=self._run, name=f"heartbeat {path.name}", daemon=True).start()

    @classmethod
    def start(
        cls, path: Path, first_line: bytes, *, beat_seconds: float, disk: Disk
    ) -> Heartbeat | None:
        """Begin the heartbeat of the lock file this process has just created.

        Args:
            first_line: what the file must begin with; the counter follows.

        Returns:
            None where the file is another's already.

        Raises:
            StoreError: it cannot be opened.
        """
        with writing_to(path):
            try:
                descriptor = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                return None
            if os.pread(descriptor, len(first_line), 0) != first_line:
                os.close(descriptor)
                return None
        return cls(path, descriptor, len(first_line), beat_seconds=beat_seconds, disk=disk)

    @property
    def lost(self) -> bool:
        """Whether the lock file is no longer this process's: it was removed or taken over."""
        with self._guard:
            return self._descriptor is None or not is_file_at(self.path, self._descriptor)

    def close(self) -> None:
        """End the thread."""
        with self._guard:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)
        self._ended.set()

    def _run(self) -> None:
        count, told = 0, False
        while not self._ended.wait(self._seconds):
            count += 1
            try:
                if self._beat(count):
                    continue
            except (StoreError, OSError) as error:
                if not told:
                    LOG.warning("the heartbeat of %s fails: %s", self.path, error)
                told = True
                continue
            return

    def _beat(self, count: int) -> bool:
        """Write the counter. Returns False where there is nothing left to beat for."""
        with self._guard:
            if self._descriptor is None:
                return False
            if not is_file_at(self.path, self._descriptor):
                LOG.warning(
                    "the lock %s was taken over while this process did not answer; what it makes "
                    "will not be published",
                    self.path,
                )
                return False
            self._disk.overwrite(self.path, self._descriptor, self._offset, beat_line(count))
            return True


class Watch:
    """How long a lock file has not moved, by the clock of the one who looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._content: bytes | None = None
        self._looked = clock()
        self.quiet_seconds = 0.0

    def look(self, content: bytes) -> None:
        """Take in what the file holds now."""
        now = self._clock()
        if content != self._content:
            self.quiet_seconds = 0.0
        else:
            self.quiet_seconds += min(now - self._looked, _LONGEST_LOOK_SECONDS)
        self._content, self._looked = content, now
