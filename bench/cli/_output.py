"""How verbs print data (stdout) and how logs look (stderr)."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from bench.api.errors import BenchError


class _Patient:
    """Standard output whose reader may go away: the verb then ends its work, and says its code."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, unless nobody reads any more."""
        self._tried(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As `write`."""
        self._tried(self._stream.flush)

    def _tried(self, change: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            change()
        except BrokenPipeError:  # as in `bench list ... | head`
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except OSError as error:
            self._gone = True
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise BenchError(
                f"standard output cannot be written: {error.strerror}.\n"
                "  to mend it: send it elsewhere; what was made is kept"
            ) from error


@contextmanager
def patient_output() -> Iterator[TextIO]:
    """Let standard output survive the end of its reader, or its being closed from the start."""
    if sys.stderr is None:  # started with 2>&-: print would take stdout in its place
        _occupy(2)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    before = sys.stdout
    for one in (before, sys.stderr):  # a terminal of another encoding, or a name that is no text
        with suppress(AttributeError, ValueError):
            one.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if before is None:  # started with >&-; else the next file opened would be descriptor 1
        _occupy(1)
    stream = open(os.devnull, "w") if before is None else before  # noqa: SIM115, PTH123
    patient: Any = _Patient(stream)
    sys.stdout = patient
    try:
        yield patient
    finally:
        sys.stdout = before


def _occupy(descriptor: int) -> None:
    with suppress(OSError):
        os.fstat(descriptor)
        return
    opened = os.open(os.devnull, os.O_WRONLY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)


def print_json(data: Any) -> None:
    """Print `data` as indented JSON with a final newline; NaN and infinities are refused."""
    print(json.dumps(data, indent=2, ensure_ascii=not writes_all(), allow_nan=False))


def writes_all() -> bool:
    """Whether standard output takes every character; else JSON has to escape them itself."""
    return str(getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"


def print_report(text: str, *, as_json: bool) -> None:
    """Print a text that ends in a newline; JSON in characters that standard output takes."""
    if as_json and not writes_all():
        text = "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)
    print(text, end="")


WIDTH = 80
"""Of a terminal."""

_NARROWEST = 14


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, width: int | None = None
) -> None:
    """Print aligned columns under a heading, for reading and for `cut`; None prints as `-`.

    Args:
        rows: one line each.
        columns: which of their keys.
        width: wrap texts within the widest columns, so that lines are no longer; None never wraps.
    """
    from tabulate import tabulate  # slow to import for verbs that print no table

    cells = [list(columns)]
    cells += [["-" if row.get(c) is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    words = [max(len(w) for line in cells for w in line[i].split()) for i in range(len(columns))]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        slack = [i for i, w in enumerate(widths) if w > max(words[i], _NARROWEST)]
        if not slack:
            break
        widths[max(slack, key=widths.__getitem__)] -= 1
    wrapped = [
        ["\n".join(textwrap.wrap(cell, w, break_on_hyphens=False)) if len(cell) > w else cell
         for cell, w in zip(line, widths, strict=True)]
        for line in cells
    ]  # fmt: skip
    print(tabulate(wrapped, tablefmt="plain", disable_numparse=True))


def hanging(label: str, text: str, *, width: int = WIDTH) -> str:
    """Return `label` and `text`, whose further lines stand below its first."""
    return textwrap.fill(
        text, width, initial_indent=label, subsequent_indent=" " * len(label),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


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
