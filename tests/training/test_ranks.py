"""The processes of one training: how they are started and told, and that none is left."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.training import ranks
from bench.training.ranks import Ending, Ranks


def end(what: str, folder: Path, then: Callable[[], object] = lambda: None) -> tuple[Ending, Ranks]:
    """Run two toy ranks to their end, calling `then` when both live; none of them is left."""
    told: list[tuple[int, int]] = []

    def heard(done: int, total: int) -> None:
        told.append((done, total))
        then()

    started = Ranks("tests.training.toyrank", what, str(folder), count=2, folder=folder)
    try:
        with started:
            ending = started.wait(heard)
    finally:
        assert len(started.processes) == 2 and not any(map(lives, started.processes))
        assert told == [(10, 10)]
    return ending, started


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_ranks_that_end_well(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ending, _ = end("well", tmp_path)
    assert ending == Ending(code=0)
    assert capfd.readouterr().out == ""  # what a library prints goes to stderr


@pytest.mark.parametrize(("what", "code"), [("SIGKILL", -9), ("exit", 3)])
def test_a_rank_that_dies_ends_the_others(what: str, code: int, tmp_path: Path) -> None:
    ending, started = end(what, tmp_path)
    assert ending == Ending(code=1, ended={1: code})
    assert started.process_of(1) == f"rank 1 of 2 (process {started.processes[1]})"


@pytest.mark.slow
def test_a_rank_that_is_silent_is_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = 4 * ranks.BEAT_SECONDS
    then = partial(monkeypatch.setattr, ranks, "SILENT_SECONDS", soon)
    ending, _ = end("SIGSTOP", tmp_path, then)
    assert ending == Ending(code=1, silent=1)


def test_an_interrupt_reaches_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        end("wait", tmp_path, threading.Timer(0.1, _thread.interrupt_main).start)
