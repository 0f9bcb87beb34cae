"""A worker process: makes one step after another, told so by JSON lines on its standard input.

    <- {"store": ..., "runtime": {...}, "sys_path": [...]}     once
    <- {"step": {...}, "gpus": [...]}      for each step; GPUs for its ranks, where it has several
    -> {"event": "progress", "done": 3, "total": 10}
    -> {"event": "done"} | {"event": "failed", ...}            with "imported": [...]

`imported` are the modules of third parties that plug-ins were taken from, up to now.
The end of its standard input is the end of its parent: it stops at once, even inside a step, so
that no worker outlives the command that started it. What a library prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from bench.api.exits import end_process, failure_of, watched
from bench.api.messages import Channel, log_to_stderr
from bench.executors.plugins import imported, plugins_of
from bench.steps.step import DivisibleStep, Runtime, Step, step_from_json
from bench.store import Store, require_unchanged, watching
from bench.store.shards import remove_shards

_INTERRUPTED = 130
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def make_step(step: Step, store: Store, runtime: Runtime) -> None:
    """Make a step's artifact here, unless the source, weights or data it is made with changed.

    They are looked at before the work, so that it is not done in vain, and before publishing.

    Raises:
        SourceChangedError, WeightsChangedError, DataChangedError: they have.
        BenchError: it failed in a way the user can act on.
        Exception: it failed otherwise.
    """

    def check() -> None:
        require_sources(step)
        step.require_unchanged(store)

    if isinstance(step, DivisibleStep) and step.is_joined(store):
        return
    store = watching(store, plugins_of(step), step.sources)
    check()
    artifact = step.make(store.checked(check), runtime)
    if artifact.id != step.id:
        raise AssertionError(f"{type(step).__name__} made {artifact.id} in place of {step.id}")
    if isinstance(step, DivisibleStep) and step.shard is None:  # an earlier run may have left parts
        remove_shards(store, step.kind, step.name, step.identity)


def require_sources(step: Step) -> None:
    """Look whether the source of what makes a step is what it was, on disk and in this process.

    Raises:
        SourceChangedError: it is not.
    """
    for source in step.sources:
        require_unchanged(source)


def use_one_thread() -> None:
    """Let torch use one thread, whether it is imported already or only later.

    Workers run beside each other, and results are the same whatever their number.
    """
    for name in _THREADS:
        os.environ[name] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextmanager
def one_thread() -> Iterator[None]:
    """As `use_one_thread`, for a while: the process is the caller's.

    Where torch is imported only inside, it keeps the one thread it started with.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    torch = sys.modules.get("torch")
    threads = None if torch is None else torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch is not None:
            torch.set_num_threads(threads)


def _read(stream: IO[str], messages: queue.Queue[dict[str, Any]]) -> None:
    """Pass messages on; at the end of the stream end the process, whatever it does."""
    for line in stream:
        messages.put(json.loads(line))
    end_process(_INTERRUPTED)


def main() -> None:
    """Serve until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and closes our input
    channel = Channel()
    messages: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin, messages), daemon=True).start()
    start = messages.get()
    sys.path += [entry for entry in start["sys_path"] if entry not in sys.path]
    store = Store(Path(start["store"]))
    runtime = Runtime(**start["runtime"], progress=channel.progress)
    log_to_stderr(start["log_level"])
    use_one_thread()
    while True:
        message = messages.get()
        step = step_from_json(message["step"])
        try:
            with watched():
                make_step(step, store, replace(runtime, gpus=tuple(message["gpus"])))
        except BaseException as error:  # nobody interrupts a worker: it is the plug-in's
            ended: dict[str, Any] = {"event": "failed", **asdict(failure_of(error, step.calls))}
        else:
            ended = {"event": "done"}
        channel.send({**ended, "imported": sorted(imported())})


if __name__ == "__main__":
    main()
