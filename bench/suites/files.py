"""Prompt suites from the user's own files."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.prompts import Prompt, PromptSuite
from bench.read.folders import few
from bench.read.json_text import read_json, read_json_lines
from bench.read.markup import say_alike, say_markup
from bench.read.table_text import SEPARATORS, read_text_table, require_spelt
from bench.read.text import (
    MissingFileError,
    read_lines,
    require_characters,
    says_nothing,
    shown,
    stands_for_nothing,
)
from bench.suites.lines import COLUMNS, OTHER_FORMS, refuse_two_readings

LOG = logging.getLogger(__name__)


def captions(*, file: str, count: int | None = None, name: str = "captions") -> PromptSuite:
    """Return the first `count` prompts of a file; blank ones are skipped, equal ones are said.

    | ending      | what is in it                                                        |
    |-------------|----------------------------------------------------------------------|
    | .jsonl      | a line: a text, or an object with `prompt`, `caption` or `text`      |
    | .json       | a list of such                                                       |
    | .csv, .tsv  | a heading with one of these columns                                  |
    | .txt, none or one that is not known for anything else | one prompt a line          |

    Lines that are all marked alike (numbered, quoted, with a dash), a heading, a JSON text, cells
    between tabs and what stands for no text (`nan`) are refused: what is the prompt there?

    Args:
        file: path.
        count: prompts taken; the file must hold as many. None takes all.
        name: of the suite.

    Raises:
        PrerequisiteError: the file is missing or too short.
        UsageError: it cannot be read as its ending says, or can be read in two ways.
    """
    path = Path(file).expanduser()
    try:
        texts = [text.strip() for text in _texts(path)]
    except MissingFileError as error:
        raise PrerequisiteError(
            f"captions file: {error}", fix="name a text file, one caption a line"
        ) from None
    texts = [text for text in texts if not says_nothing(text)]
    _refuse_placeholders(texts, shown(path))
    if count is not None and len(texts) < count:
        raise PrerequisiteError(
            f"{shown(path)} holds {len(texts)} captions, {count} are needed",
            fix=f"provide a file with {count} captions, one a line",
        )
    if not texts:
        raise UsageError(f"{shown(path)} holds no prompt; expected at least one")
    texts = texts[:count]
    say_markup(texts, shown(path))
    say_alike(texts, shown(path))
    equal = {text: n for text, n in Counter(texts).items() if n > 1}
    if equal:
        LOG.warning(
            "%s: %d of %d prompts are equal to an earlier one (%s): their images are equal, too; "
            "for several images of a prompt use --images-per-prompt",
            shown(path),
            sum(equal.values()) - len(equal),
            len(texts),
            few([repr(text) for text in equal]),
        )
    return captions_of(texts, name=name)


def captions_of(texts: Sequence[str], *, name: str = "captions") -> PromptSuite:
    """Return a suite of these texts, one caption each.

    Raises:
        UsageError: a text holds half of a character.
    """
    for number, text in enumerate(texts, start=1):
        require_characters(text, f"prompt {number}")
    return PromptSuite(
        name=name,
        version=hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12],
        prompts=tuple(
            Prompt(id=f"caption-{i:06d}", text=text, tag="caption") for i, text in enumerate(texts)
        ),
    )


def _texts(path: Path) -> Iterator[str]:
    """Yield the prompts of a file, blank ones too."""
    where, ending = shown(path), path.suffix.lower()
    if ending in OTHER_FORMS:
        raise UsageError(
            f"{where}: prompts are not read from {ending} files; name a text with one prompt a "
            "line, or .jsonl, .json, .csv, .tsv"
        )
    if ending in (".jsonl", ".ndjson"):
        values = list(read_json_lines(path))
        _say_keys([value for _, value in values], where)
        for number, value in values:
            yield _text(value, f"{where}, line {number}")
    elif ending == ".json":
        found = read_json(path)
        if not isinstance(found, list):
            raise UsageError(
                f"{where} holds a {type(found).__name__}; expected a list of texts, or of objects "
                f"with {', '.join(COLUMNS)}"
            )
        _say_keys(found, where)
        for number, value in enumerate(found):
            yield _text(value, f"{where}, item {number}")
    elif ending in SEPARATORS:
        table = read_text_table(path)
        require_spelt(table.columns, COLUMNS, where)
        column = _column(table.columns, where)
        _say_left(table.columns, column, where)
        yield from (row.values[column] for row in table.whole())
    else:
        lines = read_lines(path)
        refuse_two_readings(lines, where)
        _say_groups(lines, where)
        yield from lines


def _say_groups(lines: Sequence[str], where: str) -> None:
    """Log that blank lines part a text in groups: prompts that were wrapped, perhaps."""
    found = [len(list(some)) for blank, some in groupby(lines, says_nothing) if not blank]
    if len(found) > 1 and max(found) > 1:
        LOG.warning(
            "%s: blank lines part it into %d groups of %d to %d lines; each line is a prompt of "
            "its own, not each group",
            *(where, len(found), min(found), max(found)),
        )


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise UsageError(f"{where}: a {type(value).__name__}; expected a text or an object")
    text = value[_column(list(value), where)]
    if not isinstance(text, str):
        raise UsageError(f"{where}: the prompt is {text!r}; expected text")
    return text


def _column(columns: Sequence[str], where: str) -> str:
    found = [name for name in COLUMNS if name in columns]
    if len(found) == 1:
        return found[0]
    told = f"has {' and '.join(found)}" if found else f"has {few(list(columns), 8) or 'nothing'}"
    raise UsageError(f"{where} {told}; expected one of {', '.join(COLUMNS)}")


def _say_keys(values: Sequence[Any], where: str) -> None:
    """Log which keys of objects are left out."""
    keys = dict.fromkeys(key for value in values if isinstance(value, dict) for key in value)
    require_spelt(list(keys), COLUMNS, where)
    taken = [name for name in COLUMNS if name in keys]
    if len(taken) == 1:
        _say_left(list(keys), taken[0], where)


def _say_left(columns: Sequence[str], taken: str, where: str) -> None:
    left = [name for name in columns if name != taken]
    if left:
        LOG.warning("%s: %s is read; not read: %s", where, taken, few(left, 8))


def _refuse_placeholders(texts: Sequence[str], where: str) -> None:
    bad = [text for text in texts if stands_for_nothing(text)]
    if bad:
        raise UsageError(
            f"{where}: {len(bad)} prompts are {bad[0]!r}, as programs write a cell that was empty; "
            "take the row out, or write the prompt"
        )
