"""Running the command line on the micro table, in this process or in a fork of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cli import main

ROOT = Path(__file__).parents[2]


def table_arguments(profile: Path, store: Path, *more: str) -> list[str]:
    """The arguments of a run of the micro table."""
    where = ["--profile", str(profile), "--store", str(store), "--jobs", "1"]
    return ["run", "--table", "1a", *where, *more]


def forked(arguments: Sequence[str], log: Path) -> int:
    """Start the command in a fork, which shares the imported libraries; return its process id."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
            sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
            code = main(arguments)
        finally:
            os._exit(code)
    return pid
