import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import StoreError
from bench.store import ArtifactLock, Disk, LockOwner, Store, Work
from bench.store.owner import live_owner, read_owner, this_process, why_stale

GONE = 2**22 + 1  # above the kernel's largest process id


def write(path: Path, owner: LockOwner, **changes: Any) -> LockOwner:
    changed = replace(owner, token="other", **changes)
    path.write_text(json.dumps(asdict(changed)))
    return changed


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"pid": GONE}, f"process {GONE} is gone"),
        ({"start_time": 1, "pid": os.getppid()}, "is now another one"),
        ({"boot_id": "an earlier one"}, "was restarted"),
        ({}, "this process released it"),
    ],
)
def test_a_stale_lock_is_taken_over_and_said(
    tmp_path: Path, changes: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.lock"
    write(path, this_process(), **changes)
    os.utime(path, (1e9, 1e9))  # long before this machine was started
    assert live_owner(path) is None
    with (
        caplog.at_level(logging.WARNING, "bench.store"),
        ArtifactLock(path, timeout_seconds=5),
    ):
        owner = read_owner(path)
        assert owner is not None
        assert (owner.pid, owner.token) == (os.getpid(), owner.token)
        assert live_owner(path) == owner
    assert "taking over" in caplog.text
    assert why in caplog.text
    assert not path.exists()


def test_a_killed_child_leaves_a_stale_lock_even_as_a_zombie(
    tmp_path: Path, kill_self: Any
) -> None:
    path = tmp_path / "x.lock"
    pid = os.fork()
    if pid == 0:
        with ArtifactLock(path):
            kill_self(path)
    end = time.monotonic() + 60
    while (live_owner(path) or not path.exists()) and time.monotonic() < end:
        time.sleep(0.005)
    with ArtifactLock(path, timeout_seconds=5):
        pass
    os.waitpid(pid, 0)


@pytest.mark.parametrize("changes", [{"host": "elsewhere", "pid": GONE}, {"pid": os.getppid()}])
def test_a_lock_that_is_live_or_foreign_is_waited_for_then_explained(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = tmp_path / "x.lock"
    start_time = None if "host" not in changes else 1  # an unknown start time proves nothing
    owner = write(path, this_process(), start_time=start_time, **changes)
    seen: list[tuple[LockOwner | None, float]] = []
    lock = ArtifactLock(path, timeout_seconds=0.5, on_wait=lambda o, s: seen.append((o, s)))
    with pytest.raises(StoreError, match=rf"process {owner.pid} on {owner.host}") as caught, lock:
        pass
    assert f"rm {path}" in str(caught.value)
    assert path.exists()
    assert seen
    assert {o for o, _ in seen} == {owner}
    assert [s for _, s in seen] == sorted(s for _, s in seen)


def test_another_container_on_this_host_is_not_judged() -> None:
    owner = replace(this_process(), token="other", pid=GONE, pid_namespace="pid:[1]")
    assert why_stale(owner, 0.0) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"pid": "x"}'])
def test_an_unreadable_lock_is_stale_only_when_old(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(text)
    with pytest.raises(StoreError), ArtifactLock(path, timeout_seconds=0.1):
        pass
    os.utime(path, (time.time() - 60, time.time() - 60))
    with ArtifactLock(path, timeout_seconds=5):
        pass


def test_threads_exclude_each_other_and_a_thread_refuses_to_wait_for_itself(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.lock"
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with ArtifactLock(path, timeout_seconds=20):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)
    with (
        ArtifactLock(path),
        pytest.raises(StoreError, match="this very thread"),
        ArtifactLock(path),
    ):
        pass


def test_a_forked_child_does_not_release_its_parents_lock(tmp_path: Path, in_child: Any) -> None:
    path = tmp_path / "x.lock"
    with ArtifactLock(path) as lock:
        assert in_child(lambda: lock.__exit__(None, None, None)) == 0
        assert live_owner(path) is not None
    assert not path.exists()


def test_many_waiters_on_a_stale_lock_enter_one_at_a_time(tmp_path: Path) -> None:
    """Each child appends in and out under the lock; a broken take-over interleaves them."""
    path, log = tmp_path / "x.lock", tmp_path / "log"
    write(path, this_process(), pid=GONE)
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _ in range(5):
                    with ArtifactLock(path, timeout_seconds=300), log.open("a") as file:
                        file.write("in\n")
                        file.flush()
                        time.sleep(0.001)
                        owner = read_owner(path)
                        assert owner is not None
                        assert owner.pid == os.getpid(), "another took the lock over"
                        file.write("out\n")
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert {os.waitpid(pid, 0)[1] for pid in children} == {0}
    assert log.read_text() == "in\nout\n" * 30


def test_a_stale_lock_is_removed_only_under_the_kernels_lock_on_that_very_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.lock"
    write(path, this_process(), pid=GONE)
    flock = fcntl.flock

    def slow_flock(descriptor: int, operation: int) -> None:
        # this waiter has opened the stale file; a faster one replaces it and is killed at once
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        write(path, this_process(), pid=GONE)
        flock(descriptor, operation)

    class WatchingDisk(Disk):
        def __init__(self) -> None:
            self.guarded: list[bool] = []

        def before(self, operation: str, path: Path) -> None:
            if operation == "unlink":
                with path.open() as file:
                    try:
                        flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                        self.guarded.append(False)
                    except BlockingIOError:
                        self.guarded.append(True)

    monkeypatch.setattr(fcntl, "flock", slow_flock)
    disk = WatchingDisk()
    with ArtifactLock(path, timeout_seconds=5, disk=disk):
        assert disk.guarded == [True]


def test_the_lock_of_the_successor_of_a_holder_that_released_and_ended_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.lock"
    write(path, this_process(), pid=GONE)
    judge = why_stale

    def slow_judge(owner: LockOwner | None, modified: float) -> str | None:
        # the holder that was read has released its lock, another process has it now
        monkeypatch.setattr("bench.store.lock.why_stale", judge)
        path.unlink()
        write(path, this_process(), pid=os.getppid(), start_time=None)
        return judge(owner, modified)

    monkeypatch.setattr("bench.store.lock.why_stale", slow_judge)
    with (
        pytest.raises(StoreError, match=f"held by process {os.getppid()}"),
        ArtifactLock(path, timeout_seconds=0.1),
    ):
        pass
    assert live_owner(path) is not None


def test_two_processes_make_an_artifact_once(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from bench.store import Store
root = Path(sys.argv[1])
(root / f"ready-{sys.argv[2]}").touch()
while not (root / "go").exists():
    time.sleep(0.002)
def make(work):
    with (root / "made").open("a") as file:
        file.write(sys.argv[2])
    time.sleep(0.2)
    work.write_json("x.json", {"by": sys.argv[2]})
store = Store(root / "store", lock_timeout_seconds=300)
print(store.build("pairs", "p", {"a": 1}, make).read_json("x.json")["by"])
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), name], stdout=subprocess.PIPE, text=True
        )
        for name in "ab"
    ]
    while not all((tmp_path / f"ready-{name}").exists() for name in "ab"):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.005)
    (tmp_path / "go").touch()
    printed = {process.communicate(timeout=300)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    made = (tmp_path / "made").read_text()
    assert made in ("a", "b")
    assert printed == {made}


def test_status_says_who_is_making_it(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def make(work: Work) -> None:
        status = store.status("pairs", "p", {})
        assert status.state == "partial"
        assert f"being made by process {os.getpid()} on " in status.reason
        work.write_json("x.json", 1)

    store.build("pairs", "p", {}, make)
