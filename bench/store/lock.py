"""One builder per artifact: a lock file that says who holds it.

The file is created with O_EXCL and names process, host and the process's start time, so a lock
whose holder was killed is told from a live one and taken over. A lock of another host cannot be
judged from here: it is waited for, and after the timeout the error says how to remove it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.api.errors import StoreError
from bench.store.writer import DISK, Disk, is_file_at, kernel_lock

LOG = logging.getLogger("bench.store")

_FIRST_POLL_SECONDS, _LAST_POLL_SECONDS = 0.02, 1.0
# A lock is created and filled under the kernel's lock; one that is still empty without it was
# left by a killed process, or by a file system that knows no such locks.
_UNREADABLE_GRACE_SECONDS = 10.0
_LARGEST_LOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class LockOwner:
    """Who holds a lock.

    Attributes:
        pid, host: the process. `pid_namespace` and `boot_id` tell where the pid means something.
        start_time: clock ticks from boot to the start of the process; None where unknown.
        token: unique for each acquisition.
        created: UTC time.
    """

    pid: int
    host: str
    boot_id: str | None
    pid_namespace: str | None
    start_time: int | None
    token: str
    created: str

    @property
    def described(self) -> str:
        """`process 12 on host, since 2025-01-01T00:00:00Z`."""
        return f"process {self.pid} on {self.host}, since {self.created}"


OnWait = Callable[[LockOwner | None, float], None]
"""Called while waiting with the holder (None when unreadable) and the seconds waited so far."""

_HELD: dict[str, int] = {}  # token -> thread, of the locks this process holds


class ArtifactLock:
    """Context manager that holds the lock file `path`.

    Args:
        path: the lock file; its folder is made.
        timeout_seconds: how long to wait for a holder that is alive or cannot be judged; None
            waits for ever.
        on_wait: called at each look while waiting, at most about once a second.
        disk: where changes go.

    Raises:
        StoreError: on entry, after the timeout, or when the lock cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout_seconds: float | None = None,
        on_wait: OnWait | None = None,
        disk: Disk = DISK,
    ) -> None:
        self.path = path
        self._timeout = timeout_seconds
        self._on_wait = on_wait
        self._disk = disk
        self._owner: LockOwner | None = None

    def __enter__(self) -> Self:
        self._disk.makedirs(self.path.parent)
        began = time.monotonic()
        pause = _FIRST_POLL_SECONDS
        while not self._try():
            holder = read_owner(self.path)
            if self._take_over_if_stale():
                continue
            waited = time.monotonic() - began
            self._refuse_own(holder)
            if self._timeout is not None and waited >= self._timeout:
                raise StoreError(self._timeout_message(holder, waited))
            if pause == _FIRST_POLL_SECONDS:
                LOG.info("waiting for %s (%s)", self.path, _described(holder))
            if self._on_wait:
                self._on_wait(holder, waited)
            time.sleep(pause)
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
            if read_owner(self.path) == owner:
                self._disk.unlink(self.path)
            else:
                LOG.warning("the lock %s was removed or taken while it was held", self.path)
        except StoreError as failure:
            # The work under the lock is done; the lock is seen as stale from now on.
            LOG.warning("the lock stays behind: %s", failure)
        finally:
            _HELD.pop(owner.token, None)

    def _try(self) -> bool:
        owner = _this_process()
        _HELD[owner.token] = threading.get_ident()
        created = False
        try:
            created = self._disk.create_exclusive(self.path, json.dumps(asdict(owner)).encode())
        finally:
            if not created:
                del _HELD[owner.token]
        if created:
            self._owner = owner
        return created

    def _take_over_if_stale(self) -> bool:
        """Remove the lock file if its holder is gone. Returns whether to try again at once.

        Of several waiters only the one that holds the kernel's lock on that very file removes
        it, so none can remove the lock that another has just taken.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return not self.path.exists()
        try:
            if not kernel_lock(descriptor, wait=False):
                return False  # another waiter is at it, or the holder is still writing it
            content = os.read(descriptor, _LARGEST_LOCK_BYTES)
            reason = why_stale(_parsed(content), os.fstat(descriptor).st_mtime)
            # Looked at last: a holder found dead can have released it just before it died.
            if not is_file_at(self.path, descriptor):
                return True
            if reason is None:
                return False
            LOG.warning("taking over the lock %s: %s", self.path, reason)
            self._disk.unlink(self.path)
            return True
        finally:
            os.close(descriptor)

    def _refuse_own(self, holder: LockOwner | None) -> None:
        if holder and _is_here(holder) and _HELD.get(holder.token) == threading.get_ident():
            raise StoreError(
                f"{self.path} is already held by this very thread: an artifact cannot be made "
                "while it is being made; make it once and pass it on."
            )

    def _timeout_message(self, holder: LockOwner | None, waited: float) -> str:
        return (
            f"waited {waited:.0f} s for {self.path}, held by {_described(holder)}.\n"
            f"  to mend it: let that process end; if it is gone for certain: rm {self.path}"
        )


def read_owner(path: Path) -> LockOwner | None:
    """Return who holds the lock file `path`; None where it is missing or unreadable."""
    try:
        return _parsed(path.read_bytes())
    except OSError:
        return None


def _parsed(content: bytes) -> LockOwner | None:
    try:
        owner = LockOwner(**json.loads(content))
    except (ValueError, TypeError):
        return None
    return owner if isinstance(owner.pid, int) else None


def live_owner(path: Path) -> LockOwner | None:
    """Return the holder of the lock file `path` unless it is known to be gone."""
    owner = read_owner(path)
    return owner if owner and why_stale(owner, 0.0) is None else None


def why_stale(owner: LockOwner | None, modified: float) -> str | None:
    """Return why a lock's holder is known to be gone, or None.

    Args:
        owner: what the lock file says; None when it could not be read.
        modified: when the lock file was written, in seconds since the epoch.
    """
    if owner is None:
        old = time.time() - modified > _UNREADABLE_GRACE_SECONDS
        return "it names no holder (its maker was killed)" if old else None
    here = _this_machine()
    if owner.host != here.host:
        return None
    if owner.boot_id and here.boot_id and owner.boot_id != here.boot_id:
        return f"{owner.host} was restarted since"
    if owner.pid_namespace != here.pid_namespace:
        return None  # another container: its process ids mean nothing here
    if _is_here(owner):
        return None if owner.token in _HELD else "this process released it, but it stayed behind"
    alive, start_time = _process(owner.pid)
    if not alive:
        return f"process {owner.pid} is gone"
    if None not in (start_time, owner.start_time) and start_time != owner.start_time:
        return f"process {owner.pid} is now another one"
    return None


def _described(owner: LockOwner | None) -> str:
    return owner.described if owner else "an unknown process"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Machine:
    host: str
    boot_id: str | None
    pid_namespace: str | None


@cache
def _this_machine() -> _Machine:
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = None
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = None
    return _Machine(host=os.uname().nodename, boot_id=boot_id, pid_namespace=namespace)


def _this_process() -> LockOwner:
    here = _this_machine()
    return LockOwner(
        pid=os.getpid(),
        host=here.host,
        boot_id=here.boot_id,
        pid_namespace=here.pid_namespace,
        start_time=_process(os.getpid())[1],
        token=os.urandom(16).hex(),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


def _is_here(owner: LockOwner) -> bool:
    """Whether `owner` is this very process."""
    here = _this_process()
    mine = (here.pid, here.host, here.boot_id, here.pid_namespace, here.start_time)
    return mine == (owner.pid, owner.host, owner.boot_id, owner.pid_namespace, owner.start_time)


def _process(pid: int) -> tuple[bool, int | None]:
    """Whether process `pid` of this machine runs (a zombie does not), and when it started."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False, None
    except PermissionError:
        pass  # it belongs to another user
    except (OverflowError, OSError):
        return False, None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True, None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold anything
    return state not in ("Z", "X"), int(rest[18])
