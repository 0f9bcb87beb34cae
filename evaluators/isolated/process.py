"""One worker process: started, spoken to, timed, ended. No orphans.

The protocol is described in `evaluators.workers.serve`.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bench.api.errors import BenchError, PrerequisiteError
from bench.api.messages import Kinds, read_message
from evaluators.workers import serve
from evaluators.workers.serve import PROTOCOL

LOG = logging.getLogger(__name__)

_TAIL_LINES = 20
_LONGEST_LINE = 1 << 26
_MOST_WAITING = 10_000
_FIELDS: Kinds = {
    "hello": {},
    "ready": {"weights": (dict,)},
    "beat": {},
    "result": {"id": (str,), "value": (object,)},
    "done": {},
    "failed": {"error": (str,), "out_of_memory": (bool,)},
}
_SHOWN = 3


class WorkerError(BenchError):
    """A worker failed: it crashed, hung, or could not score what it was given (exit 1)."""


class WorkerCrashError(WorkerError):
    """A worker's process ended on its own; another one may be started."""


class OutOfMemoryError(WorkerError):
    """A batch did not fit the device's memory."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a worker may take, in seconds.

    Attributes:
        hello: from its start to its first message.
        load: for loading its model.
        item: for one item, times the items of a batch.
        silence: without any message, beats included.
        heartbeat: between two beats.
        stop: to end after it was asked to.
    """

    hello: float = 60.0
    load: float = 3600.0
    item: float = 600.0
    silence: float = 300.0
    heartbeat: float = 5.0
    stop: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is run.

    Attributes:
        name: of the environment, for messages.
        python: its interpreter.
        worker: the worker's file.
        variables: added to the process's environment.
    """

    name: str
    python: Path
    worker: Path
    variables: Mapping[str, str]


class WorkerProcess:
    """A running worker, as a context manager; leaving it ends the process and its children.

    Args:
        command: what is run.
        limits: how long it may take.
        describe: only say hello.

    Attributes:
        hello: the worker's first message: protocol, worker, version, python, packages.

    Raises:
        PrerequisiteError: the interpreter cannot be started.
        WorkerError: it ends or is silent before its hello, or speaks another protocol.
    """

    def __init__(self, command: Command, limits: Limits, *, describe: bool = False) -> None:
        self.command, self.limits = command, limits
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._closed = False
        self._start(describe)
        try:
            self.hello = self._receive(limits.hello, doing="starting")
            spoken = self.hello.get("protocol")
            if self.hello.get("type") != "hello" or spoken != PROTOCOL:
                raise WorkerError(
                    f"{self._who} speaks protocol {spoken!r}, expected {PROTOCOL}: "
                    f"{command.worker} is of another version of the harness."
                )
            if not isinstance(self.hello.get("packages"), dict):
                raise WorkerError(
                    f"{self._who} names no packages in its hello: {str(self.hello)[:200]}. Its "
                    "worker file breaks the protocol."
                )
        except BaseException:
            self.close()
            raise

    def _start(self, describe: bool) -> None:
        request_read, request_write = os.pipe()
        result_read, result_write = os.pipe()
        # the environment's own packages, and nothing of the host's
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = [str(self.command.python), serve.__file__, str(self.command.worker)]
        arguments += [str(request_read), str(result_write), *(["--describe"] if describe else [])]
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(request_read, result_write),
                env={**environment, **self.command.variables},
                start_new_session=True,  # a Ctrl-C reaches this process, which ends the worker
            )
        except OSError as error:
            for fd in (request_write, result_read):
                os.close(fd)
            raise PrerequisiteError(
                f"cannot start the interpreter of environment {self.command.name}: {error}",
                fix=f"python -m bench assets build --env {self.command.name}",
            ) from error
        finally:
            os.close(request_read)
            os.close(result_write)
        self._requests: IO[str] = os.fdopen(request_write, "w", encoding="utf-8")
        assert self._process.stdout is not None
        self._readers = [
            threading.Thread(target=self._read_noise, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_results, args=(result_read,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_noise(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                text = line.decode("utf-8", "replace").rstrip()
                self._tail.append(text)
                LOG.debug("%s: %s", self.command.name, text)

    def _read_results(self, fd: int) -> None:
        with os.fdopen(fd, encoding="utf-8", errors="replace") as stream:
            while line := stream.readline(_LONGEST_LINE):
                self._messages.put(message_of(line))
        self._messages.put(None)

    def load(
        self,
        *,
        options: Mapping[str, Any],
        weights: Mapping[str, Path],
        expected: Mapping[str, str],
        device: str | None,
        guard: Path | None = None,
    ) -> None:
        """Have the worker load its model, from weights with the expected hashes.

        Raises:
            WorkerError: it cannot, or its weights are others.
        """
        self._send(
            {
                "type": "start",
                "options": dict(options),
                "weights": {name: str(path) for name, path in weights.items()},
                "expected": dict(expected),
                "device": device,
                "guard": None if guard is None else str(guard),
                "heartbeat_seconds": self.limits.heartbeat,
            }
        )
        ready = self._receive(self.limits.load, doing="loading its model")
        if ready["type"] == "failed":
            raise WorkerError(f"{self._who} cannot load its model: {_told(ready)}")
        if ready["type"] != "ready":
            raise WorkerError(
                f"{self._who} answered {str(ready)[:200]} while loading its model; expected that "
                "it is ready. Its worker file breaks the protocol."
            )
        found = ready["weights"]
        for name, sha256 in expected.items():
            if found.get(name) != sha256:
                raise WorkerError(
                    f"{self._who} found {name} with sha256 {found.get(name)}, expected {sha256}: "
                    f"{weights[name]} has changed or is not the file this back-end is for. "
                    "Remove it and fetch it again."
                )

    def score(self, items: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return the worker's value of each item, in order.

        Raises:
            OutOfMemoryError: the batch does not fit.
            WorkerCrashError: the process ended; the message names the items it was at.
            WorkerError: it hangs, or cannot score them; the message names them.
        """
        self._send({"type": "score", "items": list(items)})
        values: dict[str, Any] = {}
        end = time.monotonic() + self.limits.item * len(items)
        while True:
            rest = [str(item["id"]) for item in items if item["id"] not in values]
            doing = f"scoring {_names(rest or [str(i['id']) for i in items])}"
            message = self._receive(end - time.monotonic(), doing=doing)
            if message["type"] == "failed":
                error = OutOfMemoryError if message["out_of_memory"] else WorkerError
                raise error(f"{self._who} failed while {doing}: {_told(message)}")
            if message["type"] == "result" and message["id"] in rest:
                values[message["id"]] = message["value"]
            elif message["type"] == "done" and not rest:
                return [values[item["id"]] for item in items]
            else:
                raise WorkerError(
                    f"{self._who} answered {str(message)[:200]} while {doing}; expected one "
                    "result for each of them. Its worker file breaks the protocol."
                )

    def _send(self, message: Mapping[str, Any]) -> None:
        # a broken pipe is told by the next `_receive`, with the exit code
        with suppress(BrokenPipeError):
            self._requests.write(json.dumps(message) + "\n")
            self._requests.flush()

    def _receive(self, seconds: float, *, doing: str) -> dict[str, Any]:
        """Return the next message that is not a beat."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                message = self._messages.get(timeout=max(0.0, min(left, self.limits.silence)))
            except queue.Empty:
                passed = seconds if left <= self.limits.silence else self.limits.silence
                self.close()
                raise WorkerError(
                    f"{self._who} gave no answer in {passed:g} s while {doing}; it was ended."
                    f"{self._last_lines()}"
                ) from None
            if message is None:
                code = self._ended()
                raise WorkerCrashError(
                    f"{self._who} ended {code} while {doing}.{self._last_lines()}"
                )
            if message["type"] != "beat":
                return message

    def _ended(self) -> str:
        try:
            code = self._process.wait(timeout=self.limits.stop)
        except subprocess.TimeoutExpired:
            return "its results"
        self._readers[0].join(timeout=1.0)  # the last lines may still be under way
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    @property
    def _who(self) -> str:
        return f"the worker of environment {self.command.name}"

    def _last_lines(self) -> str:
        lines = list(self._tail)
        return "\n  its last lines:\n    " + "\n    ".join(lines) if lines else ""

    def close(self) -> None:
        """End the process and its children; safe to call again."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError, ValueError):
            self._requests.close()  # the end of its pipe asks the worker to end
        try:
            self._process.wait(timeout=0.2 if self._process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):
                self._signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=self.limits.stop)
                    break
        self._signal(signal.SIGKILL)  # what it may have started itself

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def message_of(line: str) -> dict[str, Any]:
    """Return a worker's message; what is none, or lacks a field of its kind, is `"garbage"`."""
    return read_message(line, "type", _FIELDS) or {"type": "garbage", "line": line[:200]}


def _told(failure: Mapping[str, Any]) -> str:
    trace = failure.get("trace")
    lines = trace if isinstance(trace, list) else []
    return "\n    ".join([str(failure["error"]), *map(str, lines)])


def _names(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (
        f" and {len(items) - _SHOWN} more" if items[_SHOWN:] else ""
    )
