"""Plug-ins that end the process: told by name, so that no command ends without a word.

`sys.exit`, `os._exit` and a `KeyboardInterrupt` nobody sent are failures of whoever raised them.
Only the user's own interrupt is one. A native library that ends the process cannot be stopped
here; with more than one job it ends its worker alone, which is reported.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench.api.errors import BenchError, CorruptArtifactError

end_process = os._exit
"""The real `os._exit`."""

_LIBRARY = Path(os.__file__).parent


class PluginExitError(BenchError):
    """A plug-in ended, or tried to end, the process it runs in (exit 1)."""


class HardExit(SystemExit):
    """Raised in place of `os._exit`."""


class _Watch:
    """What happened since `watched` was entered."""

    def __init__(self) -> None:
        self.interrupted = False
        self.hard_exits: list[str] = []


_WATCHES: list[_Watch] = []


@contextmanager
def watched() -> Iterator[None]:
    """Let `os._exit` raise `HardExit` in this process, and remember whether the user interrupts.

    A forked child ends as it wants to.

    Raises:
        PluginExitError: at the end, where a thread called `os._exit`.
    """
    watch, owner = _Watch(), os.getpid()

    def guarded(status: int) -> NoReturn:
        if os.getpid() != owner:
            end_process(status)
        if threading.current_thread() is not threading.main_thread():
            watch.hard_exits.append(f"os._exit({status}) in a thread{_place(_stack())}")
        raise HardExit(status)

    def interrupt(number: int, frame: FrameType | None) -> None:
        watch.interrupted = True
        signal.default_int_handler(number, frame)

    main = threading.current_thread() is threading.main_thread()
    handled = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    before = os._exit
    os._exit = guarded
    if handled:
        signal.signal(signal.SIGINT, interrupt)
        _WATCHES.append(watch)
    try:
        yield
    finally:
        os._exit = before
        if handled:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _WATCHES.remove(watch)
    if watch.hard_exits:
        raise PluginExitError(_explained("a plug-in", watch.hard_exits[0]))


def is_users(error: BaseException) -> bool:
    """Whether an exception is the user's interrupt, as far as that can be told."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    return _WATCHES[-1].interrupted if _WATCHES else True


def refused(error: BaseException, who: str) -> Exception:
    """Return the failure an exception stands for: itself, unless it would end the process.

    Args:
        error: not the user's interrupt.
        who: was called when it was raised, e.g. `method mine.py:Mine`.
    """
    if isinstance(error, Exception):
        return error
    what = f"raised {type(error).__name__}"
    if isinstance(error, HardExit):
        what = f"called os._exit({error.code})"
    elif isinstance(error, SystemExit):
        what = f"called sys.exit({'' if error.code is None else repr(error.code)})"
    elif isinstance(error, KeyboardInterrupt):
        what = "raised KeyboardInterrupt, which nobody sent"
    stack = traceback.extract_tb(error.__traceback__)
    failure = PluginExitError(_explained(who, what + _place(stack)))
    failure.__cause__ = error
    return failure


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is to be known of a failure, also in another process: plain JSON-able data.

    Attributes:
        message: what happened.
        exit_code: of the command, by the kind of error.
        damaged: folder of the artifact that was found to be damaged.
        trace: the traceback of an unexpected error.
    """

    message: str
    exit_code: int = 1
    damaged: str | None = None
    trace: str | None = None


def failure_of(error: BaseException, who: str) -> Fault:
    """Return what is to be known of a failure.

    Args:
        error, who: as for `refused`.
    """
    error = refused(error, who)
    expected = isinstance(error, BenchError)
    try:
        told = str(error)
    except Exception:  # a plug-in's error need not even have a text
        told = "(it has no text)"
    damaged = error.artifact_path if isinstance(error, CorruptArtifactError) else None
    return Fault(
        message=told if expected else f"{type(error).__name__}: {told}",
        exit_code=error.exit_code if isinstance(error, BenchError) else 1,
        damaged=None if damaged is None else str(damaged),
        trace=None if expected else "".join(traceback.format_exception(error)),
    )


def how_ended(code: int) -> str:
    """Return in words how a process ended that should not have, by its exit code."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    hint = " (out of memory?)" if code == -9 else ""
    return f"{how}{hint}; run the same command again to continue"


def _explained(who: str, what: str) -> str:
    return (
        f"{who} {what}.\n"
        "  to mend it: let it raise an error that says what is wrong; the command ends by itself"
    )


def _stack() -> traceback.StackSummary:
    return traceback.extract_stack()


def _place(stack: traceback.StackSummary) -> str:
    """Return ` (mine.py, line 12, in loss)`: the innermost place that is not ours."""
    for frame in reversed(stack):
        path = Path(frame.filename)
        library = _LIBRARY in path.parents and "site-packages" not in path.parts
        if library or path == Path(__file__):
            continue
        return f" ({frame.filename}, line {frame.lineno}, in {frame.name})"
    return ""
