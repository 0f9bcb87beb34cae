"""Raw replies of judges, kept as they come: an interrupted or repeated run asks nothing twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.assets.places import cache_root
from bench.read.text import read_lines


class ReplyCache:
    """Replies of one judge, one JSON line each; a line that was cut off is asked for again.

    Args:
        identity: what can change the judge's replies.
        folder: default: `judges` in the cache.
    """

    def __init__(self, identity: Mapping[str, Any], folder: Path | None = None) -> None:
        digest = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()
        self.path = (folder or cache_root() / "judges") / f"{digest[:16]}.jsonl"
        self._lock = threading.Lock()
        self._replies: dict[str, str] = {}
        if self.path.is_file():
            for line in read_lines(self.path):
                try:
                    row = json.loads(line)
                    self._replies[row["key"]] = row["reply"]
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str) -> str | None:
        """Return the reply that is kept under a key, None where there is none."""
        return self._replies.get(key)

    def put(self, key: str, reply: str) -> None:
        """Keep a reply: it is on disk when this returns."""
        with self._lock:
            self._replies[key] = reply
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # begins with the line end, so that a line cut off before does not swallow it
                file.write("\n" + json.dumps({"key": key, "reply": reply}))
