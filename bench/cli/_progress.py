"""Progress on stderr: one status line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from bench.cli._request import BARS_WANTED, how_asked

if TYPE_CHECKING:
    from bench.harness import Event, TableResult

LOG = logging.getLogger("bench.cli")

_REFRESH_SECONDS = 0.2


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Return a number of bytes as `12 kB`, `3.4 MB` or `5.6 GB`."""
    if count < 1_000_000:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.1f} GB"


class Progress:
    """Listens to the executor.

    Args:
        quiet: say nothing but failures.
        stream: where to; stderr.
    """

    def __init__(self, *, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty() and BARS_WANTED
        self._quiet = quiet
        self._running: dict[str, str] = {}
        self._drawn = 0.0

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        key = event.step.id
        if event.kind == "started":
            self._running[key] = event.step.label
        elif event.kind == "progress":
            part = event.done / max(event.total, 1)
            self._running[key] = f"{event.step.label} {100 * part:.0f} %"
        else:
            self._settled(event)
        self._draw(event, force=event.kind in ("done", "failed"))

    def _settled(self, event: Event) -> None:
        self._running.pop(event.step.id, None)
        if event.kind == "failed":
            self.line(f"FAILED {event.step.label}: {event.message}")
        elif event.kind == "skipped":
            pass  # the list at the end names its cause
        elif not self._quiet:
            count = f"[{event.finished}/{event.steps}]"
            self.line(f"{count} {event.step.label} ({duration(event.seconds)}){_ahead(event)}")

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Remove the status line."""
        if self._tty:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def _draw(self, event: Event, *, force: bool) -> None:
        now = time.monotonic()
        if not self._tty or self._quiet or (not force and now - self._drawn < _REFRESH_SECONDS):
            return
        self._drawn = now
        running = "; ".join(self._running.values())
        text = f"[{event.finished}/{event.steps}] {running}{_ahead(event)}"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{text[:width]}")
        self._stream.flush()


def _ahead(event: Event) -> str:
    left = event.seconds_left
    return "" if left is None else f", about {duration(left)} to go"


@contextmanager
def shown_work(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Give what the options of `add_work` and `add_ranks` say, by the names that `bench.harness`
    gives it; progress is shown on stderr.
    """
    progress = Progress(quiet=args.quiet)
    try:
        yield {**how_asked(args), "on_event": progress}
    finally:
        progress.clear()


def report_failures(result: TableResult) -> None:
    """List on stderr what failed, with the traceback of what nobody expected."""
    from bench.harness.parts import failure_lines

    for failure in result.outcome.causes.values():
        if failure.trace:
            LOG.debug("%s", failure.trace)
    lines = failure_lines(result.outcome, result.graph)
    for line in lines:
        LOG.error("failed: %s", line)
    if lines:
        LOG.error("%d failed; the same command tries them again (-v shows more)", len(lines))
