"""One builder per artifact: a lock file that says who holds it, and whose heart beats.

The file is created with O_EXCL and names process, host and the process's start time, so a lock
whose holder was killed is told from a live one and taken over at once. A holder that cannot be
seen from here (another host, another container) is waited for as long as its heartbeat moves,
however long it works; one that is silent for minutes is dead, and taken over with a warning.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.api.errors import StoreError
from bench.store.heartbeat import TIMES, Clock, Heartbeat, LeaseTimes, Watch, beat_line
from bench.store.owner import (
    HELD,
    LockOwner,
    is_here,
    may_be_silent,
    parse_owner,
    read_owner,
    this_process,
    why_stale,
)
from bench.store.writer import DISK, Disk, is_file_at, kernel_lock

LOG = logging.getLogger("bench.store")

_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.02, 1.0
_LARGEST_LOCK_BYTES = 1 << 16

OnWait = Callable[[LockOwner | None, float], None]
"""Called while waiting with the holder (None when unreadable) and the seconds waited so far."""


class LeaseLostError(StoreError):
    """The lock was taken over while this process did not answer; nothing was published (exit 1)."""


class ArtifactLock:
    """Context manager that holds the lock file `path`.

    Args:
        path: the lock file; its folder is made.
        timeout_seconds: how long to wait for a holder that lives; None waits for ever.
        on_wait: called at each look while waiting, at most about once a second.
        on_silent: called before a lock is taken from a holder that is silent but may live on, to
            keep that one from what it worked on.
        disk: where changes go.
        times: see `LeaseTimes`; None takes `bench.store.heartbeat.TIMES`.
        clock, sleep: how time passes for the waiter.

    Raises:
        StoreError: on entry, after the timeout, or when the lock cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout_seconds: float | None = None,
        on_wait: OnWait | None = None,
        on_silent: Callable[[], object] | None = None,
        disk: Disk = DISK,
        times: LeaseTimes | None = None,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.path = path
        self._timeout = timeout_seconds
        self._on_wait = on_wait
        self._on_silent = on_silent
        self._disk = disk
        self._times = times or TIMES
        self._clock = clock
        self._sleep = sleep
        self._watch = Watch(clock)
        self._owner: LockOwner | None = None
        self._heart: Heartbeat | None = None

    def __enter__(self) -> Self:
        self._disk.makedirs(self.path.parent)
        began = self._clock()
        pause = _FIRST_POLL_SECONDS
        told: float | None = None
        while not self._try():
            holder = read_owner(self.path)
            if self._take_over():
                continue
            waited = self._clock() - began
            self._refuse_own(holder)
            if self._timeout is not None and waited >= self._timeout:
                raise StoreError(self._timeout_message(holder, waited))
            if told is None or waited - told >= self._times.say_every_seconds:
                self._say(holder, waited)
                told = waited
            if self._on_wait:
                self._on_wait(holder, waited)
            self._sleep(pause)
            pause = min(2 * pause, _LAST_POLL_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        owner, self._owner = self._owner, None
        # A forked child that leaves the block has no part in its parent's lock.
        if owner is None or owner.pid != os.getpid():
            return
        try:
            if self._heart is not None:
                self._heart.close()
            if read_owner(self.path) == owner:
                self._disk.unlink(self.path)
            else:
                LOG.warning("the lock %s was removed or taken while it was held", self.path)
        except StoreError as failure:
            # The work under the lock is done; the lock is seen as stale from now on.
            LOG.warning("the lock stays behind: %s", failure)
        finally:
            HELD.pop(owner.token, None)

    @property
    def lost(self) -> bool:
        """Whether another process has taken the lock since it was entered."""
        return self._heart is None or self._heart.lost

    def require(self) -> None:
        """Make sure that the lock is still held. Called last before anything is published.

        Raises:
            LeaseLostError: it was removed or taken over.
        """
        if self.lost:
            now = read_owner(self.path)
            raise LeaseLostError(
                f"the lock {self.path} was taken over while this process did not answer (it is "
                f"now {'gone' if now is None else 'held by ' + now.described}); nothing of this "
                "attempt was published.\n"
                "  to mend it: run the same command again, which takes what the other one made"
            )

    def _try(self) -> bool:
        owner = this_process()
        HELD[owner.token] = threading.get_ident()
        first_line = json.dumps(asdict(owner)).encode() + b"\n"
        try:
            if self._disk.create_exclusive(self.path, first_line + beat_line(0)):
                beat = self._times.beat_seconds
                self._heart = Heartbeat.start(
                    self.path, first_line, beat_seconds=beat, disk=self._disk
                )
                self._owner = None if self._heart is None else owner
        finally:
            if self._owner is None:
                del HELD[owner.token]
        return self._owner is not None

    def _take_over(self) -> bool:
        """Remove the lock file if its holder is gone. Returns whether to try again at once.

        Of several waiters only the one that holds the kernel's lock on that very file removes
        it, so none can remove the lock that another has just taken.
        """
        try:
            descriptor = self._open()
        except OSError:
            return not self.path.exists()
        try:
            if not kernel_lock(descriptor, wait=False):
                return False  # another waiter is at it, or the holder is still writing it
            content = os.read(descriptor, _LARGEST_LOCK_BYTES)
            self._watch.look(content)
            owner = parse_owner(content)
            reason = why_stale(owner, os.fstat(descriptor).st_mtime)
            silence = self._why_silent(owner) if reason is None else None
            # Looked at last: a holder found dead can have released it just before it died.
            if not is_file_at(self.path, descriptor):
                return True
            if reason is None and silence is None:
                return False
            LOG.warning("taking over the lock %s: %s", self.path, reason or silence)
            if silence is not None and self._on_silent is not None:
                self._on_silent()
            self._disk.unlink(self.path)
            return True
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """Open the lock file; for writing where that is allowed, as network file systems ask."""
        try:
            return os.open(self.path, os.O_RDWR)
        except PermissionError:
            return os.open(self.path, os.O_RDONLY)

    def _why_silent(self, owner: LockOwner | None) -> str | None:
        quiet = self._watch.quiet_seconds
        if owner is None or quiet < self._times.dead_after_seconds or may_be_silent(owner):
            return None
        return f"{owner.described}, has given no sign of life for {_span(quiet)}"

    def _refuse_own(self, holder: LockOwner | None) -> None:
        if holder and is_here(holder) and HELD.get(holder.token) == threading.get_ident():
            raise StoreError(
                f"{self.path} is already held by this very thread: an artifact cannot be made "
                "while it is being made; make it once and pass it on."
            )

    def _say(self, holder: LockOwner | None, waited: float) -> None:
        quiet = self._watch.quiet_seconds
        beat = "its heart beats" if quiet <= 2 * self._times.beat_seconds else (
            f"no sign of life for {_span(quiet)}, taken over after "
            f"{_span(self._times.dead_after_seconds)} unless it is seen to run"
        )  # fmt: skip
        LOG.info(
            "waiting for %s/%s, held by %s: %s so far, %s",
            self.path.parent.name,
            self.path.stem,
            _described(holder),
            _span(waited),
            beat,
        )

    def _timeout_message(self, holder: LockOwner | None, waited: float) -> str:
        return (
            f"waited {waited:.0f} s for {self.path}, held by {_described(holder)}.\n"
            f"  to mend it: let that process end; if it is gone for certain: rm {self.path}"
        )


def _described(owner: LockOwner | None) -> str:
    return owner.described if owner else "an unknown process"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
