"""The catalogue of prompt suites: `catalog.yaml`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from bench.api.errors import UsageError, did_you_mean, unknown
from bench.read.text import read_text

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
    try:
        data = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected a mapping of suites by name")
    return {name: _entry(f"{path.name}: {name}", name, entry) for name, entry in data.items()}


def entry_of(name: str) -> SuiteEntry:
    """Return the entry of a name (UsageError with the nearest names otherwise)."""
    if name not in catalog():
        raise unknown("prompt suite", name, catalog())
    return catalog()[name]


def _entry(where: str, name: str, data: Mapping[str, Any]) -> SuiteEntry:
    found = dict(data)
    base = found.pop("base", "")
    files = []
    for file, about in found.pop("files", {}).items():
        sha256 = about.get("sha256")
        if sha256 is not None and not _HEX.fullmatch(str(sha256)):
            raise UsageError(
                f"{where}: sha256 of {file} is {sha256!r}; expected 8 to 64 hex digits"
            )
        files.append(
            _build(SuiteFile, f"{where}: {file}", {"name": file, "url": base + file, **about})
        )
    reader = _build(Reader, f"{where}: reader", found.pop("reader", {}))
    if (reader.format is None) == (reader.function is None) or reader.format not in (
        None,
        *FORMATS,
    ):
        raise UsageError(f"{where}: its reader has neither one function nor one known format")
    found.setdefault("folder", name)
    given = {**found, "name": name, "files": tuple(files), "reader": reader}
    built: SuiteEntry = _build(SuiteEntry, where, given)
    return built


def _build(kind: type[Any], where: str, data: Mapping[str, Any]) -> Any:
    known = kind.__dataclass_fields__
    for key in data:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}.{did_you_mean(key, known)}")
    try:
        return kind(**data)
    except TypeError as error:
        raise UsageError(f"{where}: {error}") from error
