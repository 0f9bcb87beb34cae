"""The catalogue of prompt suites: `catalog.yaml`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError, unknown
from bench.config import load_yaml, mapping, read

CATALOG = Path(__file__).with_name("catalog.yaml")
FORMATS = ("lines", "tsv", "csv", "json-list")

_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, kw_only=True)
class SuiteFile:
    """A file of a suite.

    Attributes:
        name: in the cache.
        url: where it is fetched.
        sha256: all or the first digits of it; None pins at the first fetch.
        bytes: its size where that is known.
    """

    name: str
    url: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How prompts are read from the files.

    Attributes:
        format: one of `FORMATS`; None where `function` reads them.
        files: by name, the tag of its prompts ("" where a column says it, or there is none).
        columns: of tsv and csv, by name or place: `text`, perhaps `id` and `tag`; others go into
            the prompt's meta.
        each: prompts of each file, where all have as many.
        function: `"module:function"` that returns the suite.
        folder_option: its keyword argument that takes the folder of the files.
        file_option: its keyword argument that takes the path of the one file.
        options: its other keyword arguments.
    """

    format: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    each: int | None = None
    function: str | None = None
    folder_option: str | None = None
    file_option: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SuiteEntry:
    """What the catalogue says of a suite.

    Attributes:
        name: what it is asked for by.
        title: one line.
        prompts: their number.
        licence: of the prompts.
        source: repository@commit, path.
        reader: how they are read.
        files: what is fetched; none where the suite is made here.
        folder: in the cache; suites may share one.
        prompts_sha256: of the prompts as read (`PromptSuite.sha256`): it holds the reader too.
        note: in words.
    """

    name: str
    title: str
    prompts: int
    licence: str
    source: str
    reader: Reader
    files: tuple[SuiteFile, ...] = ()
    folder: str = ""
    prompts_sha256: str | None = None
    note: str = ""


@lru_cache
def catalog() -> Mapping[str, SuiteEntry]:
    """Return all suites by name."""
    return read_catalog(CATALOG)


def read_catalog(path: Path) -> dict[str, SuiteEntry]:
    """Read a catalogue.

    Raises:
        UsageError: it is no YAML mapping, a key is unknown or missing, or a hash is none.
    """
    return {
        name: _entry(f"{path.name}: {name}", name, entry) for name, entry in load_yaml(path).items()
    }


def entry_of(name: str) -> SuiteEntry:
    """Return the entry of a name (UsageError with the nearest names otherwise)."""
    if name not in catalog():
        raise unknown("prompt suite", name, catalog())
    return catalog()[name]


def _entry(where: str, name: str, data: Any) -> SuiteEntry:
    found = {"folder": name, **mapping(data, where)}
    base = found.pop("base", "")
    files = mapping(found.get("files", {}), f"{where}.files")
    found["files"] = [
        {"name": file, "url": f"{base}{file}", **mapping(about, where)}
        for file, about in files.items()
    ]
    entry = read(SuiteEntry, {"reader": {}, **found}, where, name=name)
    for file in entry.files:
        if file.sha256 is not None and not _HEX.fullmatch(file.sha256):
            raise UsageError(
                f"{where}: sha256 of {file.name} is {file.sha256!r}; expected 8 to 64 hex digits"
            )
    reader = entry.reader
    if (reader.format is None) == (reader.function is None) or reader.format not in (
        None,
        *FORMATS,
    ):
        raise UsageError(f"{where}: its reader has neither one function nor one known format")
    return entry
