"""A table's folder as it is opened: what its seal says of the files, and what may still be used.

`table.json` and every rendered file can be made again from `records.parquet`, which carries the
table beside the per-image values; records and pictures only by running the table again.
"""

from __future__ import annotations

import base64
import json
import logging
import shlex
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, UsageError
from bench.report.inputs import STATISTICS_VERSION
from bench.store import MANIFEST, Published, parquet_notes, read_folder

LOG = logging.getLogger("bench.report")

JSON_FILE, MARKDOWN_FILE, CSV_FILE = "table.json", "table.md", "table.csv"
LATEX_FILE, PAGE_FILE = "table.tex", "table.html"
RECORDS_FILE, COMMAND_FILE = "records.parquet", "command.txt"
RENDERED = (MARKDOWN_FILE, CSV_FILE, LATEX_FILE, PAGE_FILE, COMMAND_FILE)
TABLES = "tables"
"""The folder of a store that tables lie in, one folder each."""
NOTE = "table"
"""Key of the Parquet file's metadata under which the table lies."""
_MOST_NAMED = 3
_FIRST_FORMAT = 1


def open_table(folder: Path) -> Published:
    """Open a table's folder, saying on the log what in it is damaged or not part of it.

    Raises:
        UsageError: there is no table.
        CorruptArtifactError: there is one, but nothing to hold it against.
    """
    found = read_folder(folder)
    if is_no_table(found):
        raise UsageError(
            f"there is no {folder / JSON_FILE}; run the table first, or name a folder that holds a "
            "table with --from."
        )
    if MANIFEST in found.faults:
        raise damaged(found, MANIFEST)
    if found.faults:
        reasons = "; ".join(found.faults.values())
        LOG.warning("%s is damaged: %s.\n  %s", folder, reasons, mend(found))
    if found.extras:
        LOG.warning("%s", extras_line(found))
    return found


def is_no_table(found: Published) -> bool:
    """Whether nothing of a table lies in the folder, damaged or not."""
    names = (JSON_FILE, RECORDS_FILE, MANIFEST)
    return MANIFEST in found.faults and not any((found.path / name).exists() for name in names)


def extras_line(found: Published) -> str:
    """Say which files lie beside the sealed ones."""
    shown = ", ".join(found.extras[:_MOST_NAMED])
    more = len(found.extras) - _MOST_NAMED
    return (
        f"{found.path}: {shown}{f' and {more} more' if more > 0 else ''}: no part of the published "
        "table; left as it is, and not used"
    )


def damaged(found: Published, *names: str) -> CorruptArtifactError:
    """Return the error for a folder of which these files are needed and cannot be had."""
    reasons = "; ".join(found.faults.get(name, f"{name} is missing") for name in names)
    return CorruptArtifactError(f"{found.path} is damaged: {reasons}.\n  {mend(found)}")


def mend(found: Published) -> str:
    """Return the line that says how a folder is mended: damaged, or whole and not to be trusted."""
    where = shlex.quote(str(found.path))
    if not found.faults:
        return (
            f"to mend it: delete {where} and run the table again with `bench run`; where it is "
            f"under version control: git checkout -- {where}"
        )
    head = head_of(found) if JSON_FILE in found.faults else None
    if MANIFEST not in found.faults and set(found.faults) <= {*RENDERED, JSON_FILE}:
        table = _table_name(found, head)
        if table is not None and (head is not None or JSON_FILE in found.files):
            return f"to mend it: {_report_command(found, table)}"
    table = _table_name(found, head) or found.path.name.removeprefix("table-")
    return (
        f"to mend it: run table {shlex.quote(table)} again with `bench run`; where it is under "
        f"version control: git checkout -- {where}"
    )


def _report_command(found: Published, table: str) -> str:
    words = ["bench", "report", "--table", table, "--from", str(found.path)]
    return shlex.join([*words, "--output", str(found.path)])


def rendered_otherwise(found: Published) -> tuple[str, str] | None:
    """Return why the rendered files of a whole table cannot be compared, and the mending command.

    None where this version would have made the same: of one that other code computed and laid
    out, nobody can say any more whether its digits were changed.
    """
    stored = stored_json(found) if JSON_FILE in found.files else None
    table = _table_name(found, stored) if stored is not None else None
    if stored is None or table is None:
        return None
    version, form = stored.get("statistics_version"), stored.get("format")
    if version == STATISTICS_VERSION and form != _FIRST_FORMAT:
        return None
    shown = ", ".join(name for name in RENDERED if name in found.files)
    return (
        f"{shown}: rendered by another version (statistics {version}, format {form}) than this one "
        f"(statistics {STATISTICS_VERSION}), and not compared with the records",
        _report_command(found, table),
    )


def _table_name(found: Published, head: Mapping[str, Any] | None) -> str | None:
    if head is None:
        head = stored_json(found) if JSON_FILE in found.files else head_of(found)
    name = head.get(NOTE) if isinstance(head, dict) else None
    return name if isinstance(name, str) else None


def stored_json(found: Published) -> dict[str, Any] | None:
    """Return the content of an intact `table.json`, None where it is no mapping."""
    try:
        stored = json.loads(found.files[JSON_FILE])
    except ValueError:
        return None
    return stored if isinstance(stored, dict) else None


def packed(head: Mapping[str, Any]) -> str:
    """Return a table without its statistics as text for the metadata of its records."""
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def head_of(found: Published) -> dict[str, Any] | None:
    """Return the table that intact records carry; None where they are damaged or older."""
    if RECORDS_FILE not in found.files:
        return None
    text = parquet_notes(found.files[RECORDS_FILE]).get(NOTE)
    if text is None:
        return None
    try:
        head = json.loads(zlib.decompress(base64.b64decode(text)))
    except (ValueError, zlib.error):
        return None
    return head if isinstance(head, dict) else None
