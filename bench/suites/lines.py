"""Plain texts of prompts, one a line: those whose lines can be read in another way, too.

A heading, a list of another format, numbers or quotation marks around each prompt would become part
of the prompts, and nothing would tell.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from bench.api.errors import UsageError
from bench.suites.foreign_lines import FOREIGN, are_numbered, have_bullets

COLUMNS = ("prompt", "caption", "text")
"""Where a table or a JSON object has its prompt; it must have one of them alone."""

OTHER_FORMS = (
    *(".yaml", ".yml", ".toml", ".ini", ".xml", ".html", ".htm", ".md", ".rst", ".rtf", ".tex"),
    *(".doc", ".docx", ".odt", ".pdf", ".xls", ".xlsx", ".ods", ".parquet", ".arrow", ".feather"),
    *(".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".7z", ".npy", ".npz", ".pkl", ".pickle"),
    *(".pt", ".pth", ".bin", ".safetensors", ".py", ".ipynb", ".png", ".jpg", ".jpeg", ".webp"),
)
"""Endings of files that hold something else than one prompt a line."""

_WORD = re.compile(r"\w+")
_REMARK = re.compile(r"\s*(#(?!\S)|#\s|//|;\s)")
_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "[]", "()", "{}")


def refuse_two_readings(lines: Sequence[str], where: str) -> None:
    """Make sure that each line can only be a prompt (blank lines are looked over).

    Args:
        lines: without their ends.
        where: the file, for messages.

    Raises:
        UsageError: they are JSON, a table, or all marked alike.
    """
    filled = [line for line in lines if line.strip()]
    for told, is_so in _READINGS.items():
        if filled and is_so(filled):
            raise UsageError(f"{where}: {told}")


def _have_remarks(lines: Sequence[str]) -> bool:
    return any(_REMARK.match(line) for line in lines)


def _are_objects(lines: Sequence[str]) -> bool:
    return all(line.lstrip().startswith("{") for line in lines) and _is_json(lines[0])


def _are_one_list(lines: Sequence[str]) -> bool:
    return lines[0].lstrip()[0] in "[{" and _is_json("\n".join(lines))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _have_a_heading(lines: Sequence[str]) -> bool:
    """Whether the first line is a table's, which names a column of prompts."""
    separator = "\t" if "\t" in lines[0] else ","
    names = [name.strip().casefold() for name in lines[0].split(separator)]
    found = any(name in COLUMNS for name in names) and all(map(_WORD.fullmatch, names))
    fits = all(line.count(separator) >= len(names) - 1 for line in lines)
    return len(lines) > 1 and found and fits


def _have_cells(lines: Sequence[str]) -> bool:
    for mark in ("\t", "|"):
        counts = {line.strip().count(mark) for line in lines}
        if len(counts) == 1 and counts != {0} and (mark == "\t" or len(lines) > 1):
            return True
    return False


def _are_quoted(lines: Sequence[str]) -> bool:
    bare = [line.strip().rstrip(",") for line in lines]
    ends = {line[0] + line[-1] if len(line) > 1 else "" for line in bare}
    return len(lines) > 1 and len(ends) == 1 and ends.pop() in _QUOTES


_MARKS = "are they part of the prompts? Take them out, or write the prompts as .jsonl"
_READINGS: dict[str, Callable[[Sequence[str]], bool]] = {
    "its lines are JSON objects; is the text of each the prompt, or what it holds? Name the file "
    ".jsonl, or write one prompt a line": _are_objects,
    "it is a JSON text; name the file .json, or write one prompt a line": _are_one_list,
    f"its first line is a heading with {', '.join(COLUMNS[:-1])} or {COLUMNS[-1]}; name the file "
    ".csv or .tsv, or take the line out": _have_a_heading,
    "each line has tabs, or bars, as a table has; name the file .tsv with a heading, or write one "
    "prompt a line": _have_cells,
    "lines begin with #, // or ;, as remarks do: are they prompts? Take them out, or write the "
    "prompts as .jsonl": _have_remarks,
    f"its lines are numbered; {_MARKS}": are_numbered,
    f"each line begins with a dash or a bullet; {_MARKS}": have_bullets,
    f"each line stands between quotation marks or brackets; {_MARKS}": _are_quoted,
    **FOREIGN,
}
