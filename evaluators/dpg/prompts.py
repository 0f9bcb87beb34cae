"""DPG-Bench's prompt file, dpg_bench.csv.

Source: TencentQQGYLab/ELLA@3c228f1:dpg_bench/ (Apache-2.0), 1065 prompts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bench.api import PrerequisiteError, Prompt, PromptSuite, ProtocolError, UsageError
from bench.read.table_text import plain_table
from bench.read.text import decoded, read_bytes

PROMPTS = 1065
COLUMNS = (
    "item_id",
    "text",
    "proposition_id",
    "dependency",
    "tuple",
    "question_natural_language",
)
_FIX = "git clone https://github.com/TencentQQGYLab/ELLA and name its dpg_bench/dpg_bench.csv"


def read_official(
    path: Path, *, drop_first: bool = True, prompts: int | None = PROMPTS
) -> PromptSuite:
    """Read the benchmark's CSV file.

    Args:
        path: the file.
        drop_first: leave out the first row of data, as the official reader does: its prompt then
            lacks a question that others may depend on.
        prompts: how many there must be; None for any number.

    Raises:
        PrerequisiteError: no such file.
        UsageError: a column is missing, a number is none, or a question stands there twice.
        ProtocolError: not as many prompts as expected.
    """
    try:
        data = read_bytes(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise PrerequisiteError(f"DPG-Bench's file is not at {path}", fix=_FIX) from None
    columns, rows = plain_table(decoded(data, str(path)), str(path))
    absent = sorted(set(COLUMNS) - set(columns))
    if absent:
        raise UsageError(f"{path} lacks the columns {', '.join(absent)}")
    texts: dict[str, str] = {}
    graphs: dict[str, dict[str, dict[str, Any]]] = {}
    for line, row in enumerate(rows):
        item = row["item_id"]
        texts.setdefault(item, row["text"])
        graph = graphs.setdefault(item, {"questions": {}, "parents": {}, "tuples": {}})
        if line == 0 and drop_first:
            continue
        try:
            number = str(int(row["proposition_id"]))
            parents = [int(parent) for parent in row["dependency"].split(",")]
        except ValueError as error:
            raise UsageError(f"{path}, row {line + 2}: {error}") from None
        if number in graph["questions"]:
            raise UsageError(f"{path}, row {line + 2}: question {number} of {item} is there twice")
        graph["questions"][number] = row["question_natural_language"]
        graph["parents"][number] = parents
        graph["tuples"][number] = row["tuple"]
    if prompts is not None and len(texts) != prompts:
        raise ProtocolError(f"{path} has {len(texts)} prompts, expected {prompts}")
    return PromptSuite(
        name="dpg-bench",
        version=hashlib.sha256(data).hexdigest()[:12] + ("" if drop_first else "-whole"),
        prompts=tuple(
            Prompt(id=item, text=text, tag="dpg", meta=graphs[item])
            for item, text in texts.items()
            if graphs[item]["questions"]
        ),
        licence="Apache-2.0",
    )


def official_suite(file: str, *, drop_first: bool = True) -> PromptSuite:
    """Return the suite of the CSV at `file`, for a profile's `suite: {function: ...}`."""
    return read_official(Path(file).expanduser(), drop_first=drop_first)
