"""Who holds a lock, and whether that process is known to be gone.

A process of this machine is looked up by its id and start time. One of another machine, or of
another container, cannot be: whether it lives is told by its heartbeat, see
`bench.store.heartbeat`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# A lock is created and filled under the kernel's lock; one that is still empty without it was
# left by a killed process, or by a file system that knows no such locks.
_UNREADABLE_GRACE_SECONDS = 10.0

HELD: dict[str, int] = {}
"""Token -> thread, of the locks this process holds."""


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


def read_owner(path: Path) -> LockOwner | None:
    """Return who holds the lock file `path`; None where it is missing or unreadable."""
    try:
        return parse_owner(path.read_bytes())
    except OSError:
        return None


def parse_owner(content: bytes) -> LockOwner | None:
    """Return the holder named in a lock file's first line; None where it is unreadable."""
    try:
        owner = LockOwner(**json.loads(content.partition(b"\n")[0]))
    except (ValueError, TypeError):
        return None
    return owner if isinstance(owner.pid, int) else None


def live_owner(path: Path) -> LockOwner | None:
    """Return the holder of the lock file `path` unless it is known to be gone."""
    owner = read_owner(path)
    try:
        modified = path.stat().st_mtime
    except OSError:
        return None
    return owner if owner and why_stale(owner, modified) is None else None


def why_stale(owner: LockOwner | None, modified: float) -> str | None:
    """Return why a lock's holder is known to be gone, or None.

    Args:
        owner: what the lock file says; None when it could not be read.
        modified: when the lock file was last written, in seconds since the epoch.
    """
    if owner is None:
        old = time.time() - modified > _UNREADABLE_GRACE_SECONDS
        return "it names no holder (its maker was killed)" if old else None
    here = _this_machine()
    if owner.host != here.host:
        return None
    if owner.boot_id and here.boot_id and owner.boot_id != here.boot_id:
        # Two machines may share a name: one whose heart beat after this one was started is other.
        booted = _booted()
        restarted = booted is not None and modified < booted
        return f"{owner.host} was restarted since" if restarted else None
    if owner.pid_namespace != here.pid_namespace:
        return None  # another container: its process ids mean nothing here
    if is_here(owner):
        return None if owner.token in HELD else "this process released it, but it stayed behind"
    state, start_time = _process(owner.pid)
    if state is None:
        return f"process {owner.pid} is gone"
    if None not in (start_time, owner.start_time) and start_time != owner.start_time:
        return f"process {owner.pid} is now another one"
    return None


def may_be_silent(owner: LockOwner) -> bool:
    """Whether a holder that is not known to be gone may live without a heartbeat.

    A process that this machine sees running may: native code can keep its heart from beating. One
    that is stopped (by SIGSTOP or a debugger), and one that cannot be seen from here, may not.
    """
    here = _this_machine()
    seen = (owner.host, owner.boot_id, owner.pid_namespace)
    if seen != (here.host, here.boot_id, here.pid_namespace):
        return False
    return is_here(owner) or _process(owner.pid)[0] not in ("T", "t")


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


def _booted() -> float | None:
    """Seconds since the epoch when this machine was started; None where that is not known."""
    try:
        return time.time() - float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def this_process() -> LockOwner:
    """Return this process as the holder of a lock it takes now."""
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


def is_here(owner: LockOwner) -> bool:
    """Whether `owner` is this very process."""
    here = this_process()
    mine = (here.pid, here.host, here.boot_id, here.pid_namespace, here.start_time)
    return mine == (owner.pid, owner.host, owner.boot_id, owner.pid_namespace, owner.start_time)


def _process(pid: int) -> tuple[str | None, int | None]:
    """State of process `pid` of this machine (None: gone; a zombie is), and when it started.

    The state is the letter of /proc, or `?` where there is no such file.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None, None
    except PermissionError:
        pass  # it belongs to another user
    except (OverflowError, OSError):
        return None, None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "?", None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold anything
    return (None if state in ("Z", "X") else state), int(rest[18])
