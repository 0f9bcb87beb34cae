"""Progress on stderr: one status line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from bench.cli._request import BARS_WANTED

if TYPE_CHECKING:
    from bench.executors.local import Event

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
        seconds: estimated seconds by node id.
        jobs: worker processes.
        quiet: say nothing but failures.
        stream: where to; stderr.
    """

    def __init__(
        self, seconds: dict[str, float], *, jobs: int, quiet: bool, stream: TextIO | None = None
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty() and BARS_WANTED
        self._quiet = quiet
        self._estimates = seconds
        self._left = dict(seconds)
        self._jobs = jobs
        self._began = time.monotonic()
        self._done_estimate = 0.0
        self._running: dict[str, str] = {}
        self._finished = 0
        self._total = len(seconds)
        self._drawn = 0.0

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        key = event.node.id
        if event.kind == "started":
            self._running[key] = event.node.label
        elif event.kind == "progress":
            part = event.done / max(event.total, 1)
            self._running[key] = f"{event.node.label} {100 * part:.0f} %"
            self._left[key] = (1.0 - part) * self._estimates.get(key, 0.0)
        else:
            self._settled(event)
        self._draw(force=event.kind in ("done", "failed"))

    def _settled(self, event: Event) -> None:
        self._running.pop(event.node.id, None)
        self._left[event.node.id] = 0.0
        self._finished += 1
        if event.kind == "failed":
            self.line(f"FAILED {event.node.label}: {event.message}")
        elif event.kind == "skipped":
            pass  # the list at the end names its cause
        elif not self._quiet:
            count = f"[{self._finished}/{self._total}]"
            self.line(f"{count} {event.node.label} ({duration(event.seconds)}){self._ahead()}")

    def _ahead(self) -> str:
        """Return the time to go: the estimate of what is left, scaled by how it went so far."""
        left = sum(self._left.values())
        if left <= 0.0:
            return ""
        done = sum(self._estimates.values()) - left
        elapsed = time.monotonic() - self._began
        rate = elapsed * self._jobs / done if done > 0.1 * (done + left) else 1.0
        return f", about {duration(left * rate / self._jobs)} to go"

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Remove the status line."""
        if self._tty:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def _draw(self, *, force: bool) -> None:
        now = time.monotonic()
        if not self._tty or self._quiet or (not force and now - self._drawn < _REFRESH_SECONDS):
            return
        self._drawn = now
        running = "; ".join(self._running.values())
        text = f"[{self._finished}/{self._total}] {running}{self._ahead()}"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[2K{text[:width]}")
        self._stream.flush()
