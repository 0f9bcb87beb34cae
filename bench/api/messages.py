"""What worker processes say: a JSON object a line, believed once it is looked at."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

_PROGRESS_SECONDS = 0.5

Kinds = Mapping[str, Mapping[str, tuple[type, ...]]]
"""By kind of message, the fields it must have and of what types; `object` is any."""


def read_message(line: str, key: str, kinds: Kinds) -> dict[str, Any] | None:
    """Return the message that a line holds, None where it holds none.

    Code that runs in a worker may write into every descriptor it finds: what lacks a field of its
    kind, or has another type there (true is no number), is no message.

    Args:
        line: as it was read.
        key: the field that names the kind.
        kinds: those that there are.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fields = kinds.get(str(found.get(key))) if isinstance(found, dict) else None
    if fields is None:
        return None
    holds = (
        name in found and (type(found[name]) in types or object in types)
        for name, types in fields.items()
    )
    return dict(found) if all(holds) else None


class Channel:
    """Writes JSON lines to what was this process's standard output when the channel was opened.

    From then on what a library prints goes to stderr.
    """

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._last = 0.0

    def fileno(self) -> int:
        """Return the descriptor it writes to."""
        return self._stream.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        with self._lock:
            self._stream.write(json.dumps(message) + "\n")
            self._stream.flush()

    def progress(self, done: int, total: int) -> None:
        """Say how far the work is, now and then."""
        now = time.monotonic()
        if done == total or now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self.send({"event": "progress", "done": done, "total": total})


def log_to_stderr(level: int) -> None:
    """Let a worker process log as the process does that started it."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    for name in ("bench", "methods", "evaluators"):
        logging.getLogger(name).setLevel(level)
