"""Heartbeats: a live holder keeps its lease however long it works, a dead one loses it in minutes.

Other hosts are forged: by lock files that name another one, and by forks that believe to be on one.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bench.api.errors import StoreError, UsageError
from bench.store import ArtifactLock, Disk, LeaseLostError, LeaseTimes, Store, Work
from bench.store import owner as owners
from bench.store.heartbeat import beat_line
from bench.store.owner import LockOwner, live_owner, read_owner, this_process

GONE = 2**22 + 1  # above the kernel's largest process id
QUICK = LeaseTimes(beat_seconds=0.1, dead_after_seconds=2.0, say_every_seconds=0.5)
PATIENCE = 60.0


@dataclass
class Time:
    """A clock that only sleeping moves; `at_sleep` is told of each new second."""

    now: float = 0.0
    shortest: float = 0.0
    at_sleep: list[Callable[[float], object]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += max(self.shortest, seconds)
        for tell in self.at_sleep:
            tell(self.now)

    def lock(self, path: Path, **options: Any) -> ArtifactLock:
        return ArtifactLock(path, clock=lambda: self.now, sleep=self.sleep, **options)


def forge(path: Path, **changes: Any) -> LockOwner:
    """Write the lock file of another host."""
    owner = replace(this_process(), **{"token": "other", "host": "elsewhere", "pid": 7, **changes})
    path.write_bytes(json.dumps(asdict(owner)).encode() + b"\n" + beat_line(0))
    return owner


def beat(path: Path, count: int) -> None:
    first = path.read_bytes().partition(b"\n")[0]
    path.write_bytes(first + b"\n" + beat_line(count))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def leaps(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let a look count for a minute, so that a day has few of them; seconds of a leap."""
    monkeypatch.setattr("bench.store.heartbeat._LONGEST_LOOK_SECONDS", 60.0)
    return 30.0


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """Fork a process that believes to be on another host; returns its id."""

    def start(work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                there = replace(owners._this_machine(), host="elsewhere", boot_id="other")
                monkeypatch.setattr(owners, "_this_machine", lambda: there)
                work()
                code = 0
            except StoreError as error:
                code = 3 if isinstance(error, LeaseLostError) else 4
            finally:
                os._exit(code)
        return pid

    return start


def test_a_dead_other_host_is_taken_over_in_minutes_with_a_warning_and_who_is_waited_for_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "train" / "x.lock"
    path.parent.mkdir()
    owner = forge(path)
    clock = Time()
    with caplog.at_level(logging.INFO, "bench.store"), clock.lock(path):
        assert live_owner(path) is not None
    assert 300 <= clock.now < 310
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert 5 <= len(said) <= 6  # at once, then once a minute
    assert all(f"process 7 on elsewhere, since {owner.created}" in text for text in said)
    assert ("train/x" in said[0] and "180 s so far" in said[3]) or "3 min so far" in said[3]
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1 and "no sign of life for 5 min" in warned[0]


def test_a_live_other_host_is_never_taken_over_whatever_its_clock_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, leaps: float
) -> None:
    path = tmp_path / "x.lock"
    forge(path)
    clock = Time(shortest=leaps)
    ends = 26 * 3600.0

    def live(now: float) -> None:
        os.utime(path, (1.0, 1.0))  # a clock of another century
        if now >= ends:
            path.unlink()
        elif int(now) % 240 == 0:
            beat(path, int(now))
            os.utime(path, (1.0, 1.0))

    clock.at_sleep.append(live)
    with caplog.at_level(logging.WARNING, "bench.store"), clock.lock(path):
        assert clock.now >= ends
    assert not caplog.records


def test_a_waiter_that_was_suspended_itself_does_not_count_that_as_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    forge(path)
    clock = Time()

    def jump(now: float) -> None:
        if now < 1e6:
            clock.now += 1e6

    clock.at_sleep.append(jump)
    with clock.lock(path):
        assert clock.now > 1e6 + 290


def test_a_process_of_this_host_that_runs_is_never_taken_over_even_when_silent(
    tmp_path: Path, leaps: float
) -> None:
    path = tmp_path / "x.lock"
    here = this_process()
    forge(path, host=here.host, pid=os.getppid(), start_time=None)
    with (
        pytest.raises(StoreError, match="waited"),
        Time(shortest=leaps).lock(path, timeout_seconds=86400.0),
    ):
        pass


def test_a_machine_of_the_same_name_is_not_taken_for_this_one_restarted(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    forge(path, host=this_process().host, boot_id="of the other one", pid=GONE)
    assert live_owner(path) is not None  # it was written after this machine was started


def test_times_that_would_call_a_live_holder_dead_are_refused() -> None:
    with pytest.raises(UsageError, match="at least three beats"):
        LeaseTimes(beat_seconds=15.0, dead_after_seconds=30.0)


def test_the_heart_beats_through_work_that_never_waits(tmp_path: Path) -> None:
    """Pure Python that never gives way holds the interpreter's lock nearly all the time."""
    path = tmp_path / "x.lock"
    with ArtifactLock(path, times=QUICK):
        owner, before = read_owner(path), path.read_bytes()
        end, after = time.monotonic() + PATIENCE, before
        while int(after.split()[-2]) < 3 and time.monotonic() < end:
            for _ in range(2000):
                sum(range(1000))
            after = path.read_bytes()
        assert read_owner(path) == owner and len(after) == len(before)
        assert int(after.split()[-2]) >= 3
    assert not path.exists()
    until(lambda: "heartbeat x.lock" not in [thread.name for thread in threading.enumerate()])


def test_a_holder_elsewhere_that_works_for_long_is_waited_for_and_one_that_is_killed_is_not(
    tmp_path: Path, elsewhere: Any
) -> None:
    path = tmp_path / "x.lock"

    def hold(seconds: float) -> Callable[[], None]:
        def work() -> None:
            with ArtifactLock(path, times=QUICK):
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    sum(range(1000))

        return work

    long = 1.5 * QUICK.dead_after_seconds
    pid = elsewhere(hold(long))
    until(lambda: read_owner(path))
    began = time.monotonic()
    with ArtifactLock(path, times=QUICK):
        assert time.monotonic() - began > long - 0.5
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    pid = elsewhere(hold(600.0))
    until(lambda: read_owner(path))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    began = time.monotonic()
    with ArtifactLock(path, times=QUICK):
        assert QUICK.dead_after_seconds - 0.1 < time.monotonic() - began < PATIENCE


def by(who: str, parts: Path, *, pause: Path | None = None) -> Callable[[Work], None]:
    """Make a part that is kept, wait, and write who made it; tells of each step in `parts`."""

    def make(work: Work) -> None:
        if not (work.path / "part.bin").exists():
            work.write_bytes("part.bin", b"part")
            with parts.open("a") as file:
                file.write(f"part by {who}\n")
        if pause is not None:
            pause.touch()
            while pause.exists():
                time.sleep(0.005)
        work.write_json("x.json", {"by": who})

    return make


@pytest.mark.parametrize("host", ["this", "other"])
def test_a_suspended_holder_notices_when_it_wakes_and_takes_what_the_other_made(
    tmp_path: Path, elsewhere: Any, host: str
) -> None:
    log, pause = tmp_path / "log", tmp_path / "pause"
    store = Store(tmp_path / "store", times=QUICK)

    def first() -> None:
        artifact = store.build("pairs", "p", {}, by("first", log, pause=pause))
        (tmp_path / "got").write_text(artifact.read_json("x.json")["by"])

    if host == "other":
        pid = elsewhere(first)
    else:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                first()
                code = 0
            finally:
                os._exit(code)
    until(pause.exists)
    os.kill(pid, signal.SIGSTOP)
    made = store.build("pairs", "p", {}, by("second", log))
    assert made.read_json("x.json") == {"by": "second"}
    pause.unlink()
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "got").read_text() == "second"
    assert log.read_text() == "part by first\n"  # the second went on from where the first was
    store.get(made.id).verify()
    left = {path.name for path in made.path.parent.iterdir()}
    assert left - {made.path.name} <= {f"{made.path.name}.partial"}


def test_nothing_of_a_holder_that_lost_its_lease_is_published_wherever_it_slept(
    tmp_path: Path,
) -> None:
    """It sleeps at each of its changes in turn, until another has made the whole artifact."""

    class Sleeping(Disk):
        def __init__(self, at: int) -> None:
            self.at, self.count = at, -1

        def before(self, operation: str, path: Path) -> None:
            if threading.current_thread() is not threading.main_thread():
                return
            self.count += 1
            if self.count == self.at:
                locks = list(root.rglob("*.lock"))
                for lock in locks:  # silent for long, and on another host
                    forge(lock)
                clock = Time()
                store = Store(root)
                store._lock = lambda p, _: clock.lock(  # type: ignore[method-assign]
                    p.with_name(p.name + ".lock"), on_silent=lambda: store._move_on(p)
                )
                store.build("pairs", "p", {}, by("second", tmp_path / "log"))

    number, lost = 0, 0
    while True:
        root = tmp_path / str(number)
        disk = Sleeping(number)
        try:
            with Store(root, disk=disk).create("pairs", "p", {}) as work:
                by("first", tmp_path / "log")(work)
        except StoreError:
            lost += 1
        if disk.count < number:
            break
        found = Store(root).find("pairs", "p", {})
        assert found is not None
        found.verify()
        makers = {"by": "first"}, {"by": "second"}
        assert found.read_json("x.json") in makers and "part.bin" in found.files
        number += 1
    assert number > 15 and lost > 10


def test_the_error_of_a_lost_lease_says_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with ArtifactLock(path) as lock:
        lock.require()
        path.unlink()
        forge(path)
        with pytest.raises(LeaseLostError, match="held by process 7 on elsewhere"):
            lock.require()
    assert read_owner(path) is not None  # the other's lock is left alone
