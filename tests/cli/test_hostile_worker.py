"""Worker processes of a pool that write rubbish, lie, die or hang, in a run as users start it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_plugin_exits import common
from tests.steps.micro import ROOT

__all__ = ["common"]  # a fixture

LIMIT = 180.0


def start(common: list[str], how: str, store: Path, **more: str) -> subprocess.Popen[str]:
    """Start a run in a copy of the store: attempts under other variables are not gone on with."""
    place = common.index("--store") + 1
    shutil.copytree(common[place], store)
    own = [*common[:place], str(store), *common[place + 1 :]]
    words = ["run", "--table", "1a", "--rows", "base", "--cols", "GE", "--jobs", "2"]
    words += ["--set", "backends.detector=tests.cli.hostile:HostileDetector"]
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *words, *own],
        cwd=ROOT,
        env={**os.environ, "HOSTILE": how, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("rubbish", 0, ""),
        pytest.param("much", 0, "", marks=pytest.mark.slow),
        pytest.param("lies", 1, "ended without an error, and", marks=pytest.mark.slow),
        pytest.param("other words", 0, "", marks=pytest.mark.slow),
        ("killed", 1, "its worker process was ended by signal 9 (out of memory?)"),
        pytest.param(
            "segfault", 1, "its worker process was ended by signal 11", marks=pytest.mark.slow
        ),
        pytest.param("closes", 1, "its worker process", marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_in_words_whatever_its_worker_does(
    how: str, code: int, told: str, common: list[str], tmp_path: Path
) -> None:
    done = start(common, how, tmp_path / "store")
    out, err = done.communicate(timeout=LIMIT)
    assert (done.returncode, "Traceback" in err) == (code, False), err
    assert told in err and "Table 1a" in out


@pytest.mark.slow
def test_a_worker_that_hangs_goes_with_an_interrupt(common: list[str], tmp_path: Path) -> None:
    mark = tmp_path / "hanging"
    running = start(common, "hangs", tmp_path / "store", HANGING=str(mark))
    until = time.monotonic() + LIMIT
    while not mark.exists() and time.monotonic() < until and running.poll() is None:
        time.sleep(0.2)
    assert mark.exists()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in err
    assert "interrupted" in (out + err).lower()
