"""From the files of a suite to its prompts. Pure: bytes in, prompts out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.api.errors import ProtocolError
from bench.api.prompts import Prompt, PromptSuite
from bench.read.table_text import plain_rows
from bench.read.text import NoTextError, decoded
from bench.suites.catalog import Reader, SuiteEntry

_OWN = ("text", "tag", "id")


def read_prompts(entry: SuiteEntry, contents: Mapping[str, bytes]) -> PromptSuite:
    """Return the suite that the files hold.

    Ids are those of an `id` column, else `<tag>-<number>` by file where files have tags, else the
    five-digit number of the prompt.

    Args:
        entry: of the catalogue.
        contents: bytes by file name.

    Raises:
        ProtocolError: a file is of another format, two prompts have one id, or the prompts are
            not as many, or not those, that the catalogue says.
    """
    reader = entry.reader
    prompts: list[Prompt] = []
    for file, tag in reader.files.items():
        rows = list(_rows(entry.name, file, reader, contents[file]))
        if reader.each is not None and len(rows) != reader.each:
            raise ProtocolError(
                f"{entry.name}: {file} holds {len(rows)} prompts, expected {reader.each}"
            )
        several = len(reader.files) > 1
        for number, row in enumerate(rows):
            own = f"{tag}-{number:03d}" if several else f"{len(prompts):05d}"
            prompts.append(
                Prompt(
                    id=row.get("id", own),
                    text=row["text"],
                    tag=row.get("tag", tag),
                    meta={key: value for key, value in row.items() if key not in _OWN},
                )
            )
    if len(prompts) != entry.prompts:
        raise ProtocolError(
            f"{entry.name}: its files hold {len(prompts)} prompts, expected {entry.prompts}"
        )
    try:
        suite = PromptSuite(
            name=entry.name,
            version=_version(entry),
            prompts=tuple(prompts),
            licence=entry.licence,
        )
    except ValueError as error:
        raise ProtocolError(str(error)) from error
    if entry.prompts_sha256 not in (None, suite.sha256):
        raise ProtocolError(
            f"{entry.name}: its prompts have sha256 {suite.sha256}, the catalogue says "
            f"{entry.prompts_sha256}: they are read otherwise than when they were pinned"
        )
    return suite


def _version(entry: SuiteEntry) -> str:
    commit = entry.source.partition("@")[2].partition(",")[0].strip()
    return commit or "pinned-at-fetch"


def _rows(name: str, file: str, reader: Reader, data: bytes) -> Iterator[dict[str, Any]]:
    try:
        text = decoded(data, f"{name}: {file}")
    except NoTextError as error:
        raise ProtocolError(str(error)) from error
    if reader.format == "lines":
        # not splitlines(), which also breaks at signs that may stand in a prompt
        for line in text.replace("\r\n", "\n").split("\n"):
            if line.strip():
                yield {"text": line}
    elif reader.format == "json-list":
        yield from _json_list(name, file, text)
    else:
        yield from _table(name, file, reader, text)


def _json_list(name: str, file: str, text: str) -> Iterator[dict[str, Any]]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProtocolError(f"{name}: {file} is no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise ProtocolError(f"{name}: {file} is no list of texts")
    for item in found:
        yield {"text": item}


def _table(name: str, file: str, reader: Reader, text: str) -> Iterator[dict[str, Any]]:
    rows: Iterator[list[str]]
    if reader.format == "tsv":  # plain: quotation marks are part of the text
        lines = text.replace("\r\n", "\n").split("\n")
        rows = iter([line.split("\t") for line in lines if line])
    else:
        rows = plain_rows(text, f"{name}: {file}")
    heading = next(rows, [])
    places: dict[str, int] = {}
    for key, column in reader.columns.items():
        if isinstance(column, int):
            places[key] = column
        elif column in heading:
            places[key] = heading.index(column)
        else:
            raise ProtocolError(
                f"{name}: {file} has no column {column!r}; it has {', '.join(heading)}"
            )
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) <= max(places.values()):
            raise ProtocolError(f"{name}: {file}, line {number} has {len(row)} columns")
        yield {key: row[place] for key, place in places.items()}
