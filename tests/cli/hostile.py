"""A back-end that does to its worker process what the variable HOSTILE says."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.steps.toys import ToyDetector

MUCH = 1 << 24


def pipes() -> list[int]:
    """The pipes of this process that can be written to, but for the standard streams."""
    found = []
    for name in Path("/proc/self/fd").iterdir():
        number = int(name.name)
        try:
            mode = os.fstat(number).st_mode
        except OSError:  # of the listing itself
            continue
        if number > 2 and stat.S_ISFIFO(mode):
            found.append(number)
    return found


def say(data: bytes) -> None:
    """Write into every pipe, as far as it takes it: one of them is the parent's."""
    for number in pipes():
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(number, rest) :]
        except OSError:
            continue


def be_hostile() -> None:
    """Do it."""
    how = os.environ.get("HOSTILE", "")
    if how == "rubbish":
        say(b"\xff\xfe\0no JSON\n" * 1000 + b'{"event": "done"\n[[[[\nnull\n')
    elif how == "much":
        say(b"x" * MUCH + b"\n")
    elif how == "lies":
        say(b'{"event": "done"}\n')
        time.sleep(3600)
    elif how == "other words":
        say(b'{"event": "failed", "message": "a\\u001b[31m\\nb", "exit_code": 99, "trace": 5}\n')
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "closes":
        for number in pipes():
            os.close(number)
        time.sleep(3600)
    elif how == "hangs":
        Path(os.environ["HANGING"]).touch()
        while True:
            time.sleep(1)


class HostileDetector(ToyDetector):
    """Is hostile before it looks."""

    name = "hostile"

    def predict(
        self, images: Any, queries: Mapping[str, Sequence[str]], *, batch_size: int = 64
    ) -> Iterator[Any]:
        """Do what the variable says, then detect."""
        be_hostile()
        yield from super().predict(images, queries, batch_size=batch_size)
