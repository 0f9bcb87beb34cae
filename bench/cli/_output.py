"""How verbs print data (stdout) and how logs look (stderr)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_json(data: Any) -> None:
    """Print `data` as indented JSON with a final newline; NaN and infinities are refused."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print aligned columns under a heading, for reading and for `cut`; None prints as `-`."""
    cells = [list(columns)]
    cells += [["-" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(padded.rstrip())


def set_up_logging(*, verbose: bool, quiet: bool) -> None:
    """Send the logs of `bench`, `methods` and `evaluators` to stderr."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"
    handler.setFormatter(logging.Formatter(form, datefmt="%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # other libraries speak up when something is wrong
    for name in ("bench", "methods", "evaluators"):
        logging.getLogger(name).setLevel(level)
