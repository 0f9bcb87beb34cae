"""The processes of one training on this machine: started, listened to, and ended. No torch.

    this process -> launcher (this file as a program) -> one process a rank

The launcher is torch's elastic one, which `accelerate launch` calls, too; it is called directly,
for `accelerate launch` reads a configuration of the user's, which is part of no identity. Ranks say
on their standard output how they are:

    -> {"event": "started", "rank": 1, "pid": 123}
    -> {"event": "alive", "rank": 1}                       every few seconds
    -> {"event": "progress", "done": 3, "total": 10}       rank 0
    -> {"event": "ended", "rank": 1, "code": -9}           the launcher, of a rank that failed

The end of their standard input is the end of this process: no rank outlives it.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bench.api.exits import end_process
from bench.api.messages import Channel, Kinds, read_message

BEAT_SECONDS = 5.0
"""Between two signs of life of a rank."""
SILENT_SECONDS = 300.0
"""A rank that gave none for so long is taken for dead."""
_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_LONGEST_LOOK_SECONDS = 5.0
_LONGEST_LINE = 1 << 16
_INTERRUPTED = 130
_EVENTS: Kinds = {
    "started": {"rank": (int,), "pid": (int,)},
    "alive": {"rank": (int,)},
    "progress": {"done": (int,), "total": (int,)},
    "ended": {"rank": (int,), "code": (int,)},
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How the processes ended.

    Attributes:
        code: of the launcher; 0 where all ranks ended well.
        ended: exit code by rank, of those that were the first to fail; negative: by a signal.
        silent: a rank that gave no sign of life for `SILENT_SECONDS`, or None.
    """

    code: int
    ended: Mapping[int, int] = field(default_factory=dict)
    silent: int | None = None


class Ranks:
    """Context manager over the processes; all have ended when the block is left.

    Args:
        module: run by each rank with `arguments`; it opens a `RankChannel` first.
        count: of ranks.
        folder: for what the launcher writes.
        gpus: what `CUDA_VISIBLE_DEVICES` calls the GPUs the ranks see, one each; where there are
            none, they see what this process sees.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        count: int,
        folder: Path,
        gpus: Sequence[str] = (),
    ) -> None:
        self.count = count
        self._pids: dict[int, int] = {}
        self._ended: dict[int, int] = {}
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._closed = False
        self._launcher = subprocess.Popen(
            [sys.executable, "-m", __name__, str(count), str(folder), module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(gpus),
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # an interrupt in the terminal reaches this process alone
        )
        assert self._launcher.stdout is not None
        listening = (self._launcher.stdout,)
        self._reader = threading.Thread(target=self._read, args=listening, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def wait(self, progress: Callable[[int, int], None]) -> Ending:
        """Return how all processes ended; `progress` is told what rank 0 says."""
        # a clock that stands while this process is stopped, when it hears nobody
        clock, heard = 0.0, dict.fromkeys(range(self.count), 0.0)
        last = time.monotonic()
        while self._launcher.poll() is None:
            message = self._next(_LOOK_SECONDS)
            now = time.monotonic()
            clock, last = clock + min(now - last, _LONGEST_LOOK_SECONDS), now
            if message is not None and message["event"] == "progress":
                progress(message["done"], message["total"])
            elif message is not None:
                heard[message["rank"]] = clock
            silent = [rank for rank, then in heard.items() if clock - then > SILENT_SECONDS]
            if silent and self._messages.empty():
                return Ending(code=1, silent=silent[0])
        self._close()
        self._reader.join(_GRACE_SECONDS)
        while (message := self._next(0)) is not None:
            if message["event"] == "progress":
                progress(message["done"], message["total"])
        return Ending(code=self._launcher.returncode, ended=dict(self._ended))

    @property
    def processes(self) -> list[int]:
        """Ids of the ranks' processes, as far as they have said so."""
        return [self._pids[rank] for rank in sorted(self._pids)]

    def process_of(self, rank: int) -> str:
        """Return `rank 1 of 2 (process 123)`."""
        pid = self._pids.get(rank)
        return f"rank {rank} of {self.count}" + ("" if pid is None else f" (process {pid})")

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message, None where there is none in time."""
        with suppress(queue.Empty):
            found = self._messages.get(timeout=seconds) if seconds else self._messages.get_nowait()
            if found is not None:
                if found["event"] == "started":
                    self._pids[found["rank"]] = found["pid"]
                elif found["event"] == "ended":
                    self._ended[found["rank"]] = found["code"]
                return found
            if seconds:
                time.sleep(seconds)  # all have ended, or closed their output
        return None

    def _read(self, stream: IO[str]) -> None:
        while line := stream.readline(_LONGEST_LINE):
            message = read_message(line, "event", _EVENTS)
            if message is not None and message.get("rank", 0) in range(self.count):
                self._messages.put(message)
        self._messages.put(None)

    def _close(self) -> None:
        """End all processes: by closing their input, then by force."""
        if self._closed:
            return
        self._closed = True
        assert self._launcher.stdin is not None
        with suppress(BrokenPipeError):
            self._launcher.stdin.close()
        if self._outlive(_GRACE_SECONDS):
            for pid in self._outlive(0):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        try:
            self._launcher.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._launcher.kill()
            self._launcher.wait()
        self._outlive(_GRACE_SECONDS)

    def _outlive(self, seconds: float) -> list[int]:
        """Wait for the ranks to end; return those that live still."""
        until = time.monotonic() + seconds
        while (left := [pid for pid in self.processes if _lives(pid)]) and time.monotonic() < until:
            time.sleep(0.02)
        return left


def _lives(pid: int) -> bool:
    """Whether a process is there and has not ended: nobody may have asked yet how it ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return False
    except OSError:  # no such folder on this system
        return not Path("/proc/self").exists()
    return state not in ("Z", "X")


def _environment(gpus: Sequence[str]) -> dict[str, str]:
    """Variables of the ranks: the folder this package was loaded from, and the GPUs they see."""
    here = str(Path(__file__).resolve().parents[2])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    shown = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), **shown}


class RankChannel(Channel):
    """What a rank speaks through. Once it is open the rank tells that it lives, and ends with its
    parent.

    Attributes:
        rank: which of the ranks this process is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rank = int(os.environ["RANK"])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and closes our input
        threading.Thread(target=_end_with_parent, daemon=True).start()
        self.send({"event": "started", "rank": self.rank, "pid": os.getpid()})
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self.send({"event": "alive", "rank": self.rank})


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    end_process(_INTERRUPTED)


def main() -> None:
    """Start COUNT ranks of `python -m MODULE ARGUMENT...`; what fails is told as a message."""
    count, folder, *module = sys.argv[1:]
    channel = Channel()
    os.dup2(channel.fileno(), 1)  # the ranks' own
    logging.disable(logging.CRITICAL)  # the parent says what happened
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=int(count),
        logs_specs=DefaultLogsSpecs(log_dir=folder),
        run_id=f"ranks-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        local_addr="127.0.0.1",
        shutdown_timeout=int(_GRACE_SECONDS / 2),
    )
    try:
        elastic_launch(config, sys.executable)("-m", *module)
        end_process(0)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        # the others are ended by SIGTERM when one fails
        first = {r: code for r, code in codes.items() if code != -signal.SIGTERM} or codes
        with suppress(BrokenPipeError):  # nobody is left to be told
            for rank, code in first.items():
                channel.send({"event": "ended", "rank": rank, "code": code})
        end_process(1)
    except (SignalException, KeyboardInterrupt):
        end_process(_INTERRUPTED)


if __name__ == "__main__":
    main()
