"""A rank that computes nothing: `python -m tests.training.toyrank WHAT FOLDER`, run by `Ranks`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from bench.training.ranks import RankChannel


def main() -> None:
    """When both live rank 1 does WHAT; rank 0 waits, as it would for a rank that is gone."""
    channel = RankChannel()
    what, mark = sys.argv[1], Path(sys.argv[2]) / "rank-0-lives"
    if channel.rank == 0:
        mark.touch()
    while not mark.exists():
        time.sleep(0.02)
    if channel.rank == 1:
        channel.progress(10, 10)
        if what == "exit":
            sys.exit(3)
        if what in ("SIGKILL", "SIGSTOP"):
            os.kill(os.getpid(), getattr(signal, what))
    if what == "well":
        print("no message")
        return
    time.sleep(600)


if __name__ == "__main__":
    main()
