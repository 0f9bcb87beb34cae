"""kill -9 at random moments, then the same command: it continues, and every byte is equal."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from bench.cli import main
from bench.store import Disk
from tests.steps.campaign import content_of
from tests.steps.micro import forked, table_arguments
from tests.steps.toys import save_checkpoint, write_profile

PART = ("--rows", "base,ddspo", "--cols", "GE,FID", "-q")
Bytes = dict[str, bytes]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    return write_profile(folder, save_checkpoint(folder / "checkpoint"))


@pytest.fixture(scope="module")
def uninterrupted(profile: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bytes, float]:
    """What a run that nothing interrupted stored, and the seconds it took."""
    store = tmp_path_factory.mktemp("whole") / "store"
    assert main(table_arguments(profile, store, "--rows", "base", "--cols", "GE", "-q")) == 0
    store = store.with_name("again")  # all is imported by now: the time is that of the work
    began = time.monotonic()
    assert main(table_arguments(profile, store, *PART)) == 0
    seconds = time.monotonic() - began
    return content_of(store), seconds


def unlike(store: Path, expected: Bytes) -> list[str]:
    """Name the files that are not as in a run that nothing interrupted."""
    found = content_of(store)
    return sorted(n for n in {**found, **expected} if found.get(n) != expected.get(n))


def end_after(profile: Path, store: Path, seconds: float, log: Path) -> bool:
    """Run in a fork and kill it after so many seconds; return whether it had ended before."""
    pid = forked(table_arguments(profile, store, *PART), log)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def survives(profile: Path, uninterrupted: tuple[Bytes, float], tmp_path: Path, kills: int) -> None:
    seed = int(os.environ.get("BENCH_CAMPAIGN_SEED", time.time()))
    print(f"{kills} kills, seed {seed}", file=sys.stderr)
    expected, seconds = uninterrupted
    dice = random.Random(seed)
    store, killed = tmp_path / "store", 0
    for attempt in range(20 * kills):
        if killed == kills:
            break
        moment = dice.uniform(0.05, 1.0) * seconds / max(1, kills / 3)
        if end_after(profile, store, moment, tmp_path / "log"):
            # it got to its end: begin again elsewhere
            assert unlike(store, expected) == []
            store = tmp_path / f"store-{attempt}"
        else:
            killed += 1
            print(f"kill {killed} after {moment:.2f} s", file=sys.stderr)
    assert killed == kills
    assert main(table_arguments(profile, store, *PART)) == 0
    assert unlike(store, expected) == []
    assert not list(store.rglob("*.partial"))
    for lock in store.rglob("*.lock"):  # of one that was killed between publishing and unlocking
        assert (lock.with_suffix("") / "manifest.json").is_file()


def test_three_kills(profile: Path, uninterrupted: tuple[Bytes, float], tmp_path: Path) -> None:
    survives(profile, uninterrupted, tmp_path, 3)


@pytest.mark.slow
def test_forty_kills(profile: Path, uninterrupted: tuple[Bytes, float], tmp_path: Path) -> None:
    survives(profile, uninterrupted, tmp_path, 40)


@pytest.mark.slow
def test_kill_at_the_boundaries_of_the_stores_writes(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write, sync, rename and removal of the store is a place to die at."""
    small = ("--rows", "base", "--cols", "GE", "-q")
    calls = 0
    deadline = 0

    def before(self: Disk, operation: str, path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == deadline:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Disk, "before", before)
    assert main(table_arguments(profile, tmp_path / "whole", *small)) == 0
    expected, boundaries = content_of(tmp_path / "whole"), calls
    assert boundaries > 50
    for number in range(1, boundaries + 1, max(1, boundaries // 40)):
        store = tmp_path / f"store-{number}"
        calls, deadline = 0, number
        pid = forked(table_arguments(profile, store, *small), tmp_path / "log")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        deadline = 0
        assert main(table_arguments(profile, store, *small)) == 0
        assert unlike(store, expected) == [], f"killed at boundary {number}"
        shutil.rmtree(store)


def test_interrupt_is_exit_130(profile: Path, tmp_path: Path) -> None:
    pid = forked(table_arguments(profile, tmp_path / "store", *PART), tmp_path / "log")
    until = time.monotonic() + 60
    while not (tmp_path / "store" / "pairs").is_dir():
        assert time.monotonic() < until
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert "interrupted" in (tmp_path / "log").read_text()
