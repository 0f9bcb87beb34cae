"""The suites on this machine: fetched, pinned, and read back only if they are what was pinned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.api.errors import (
    CorruptArtifactError,
    PrerequisiteError,
    ProtocolError,
    UsageError,
    unknown,
)
from bench.api.files import stamp
from bench.api.loading import import_target
from bench.api.prompts import PromptSuite
from bench.assets.download import Order, agrees, check, download
from bench.assets.places import cache_root
from bench.read.text import read_bytes, read_text
from bench.store import DISK, file_hash, writing_to
from bench.suites.catalog import SuiteEntry, SuiteFile, entry_of
from bench.suites.reading import read_prompts

PINS = "pins.json"
_KNOWN: dict[tuple[Any, ...], PromptSuite] = {}


def suite_folder(entry: SuiteEntry) -> Path:
    """Return where the files of a suite lie."""
    return cache_root() / "suites" / entry.folder


def is_here(entry: SuiteEntry) -> bool:
    """Whether nothing has to be fetched."""
    folder = suite_folder(entry)
    return all((folder / file.name).is_file() for file in entry.files)


def load_suite(name: str) -> PromptSuite:
    """Return a suite, or of `NAME:TAG` the prompts with that tag.

    Raises:
        UsageError: the suite or the tag is unknown.
        PrerequisiteError: its files are not here; the message has the command that gets them.
        CorruptArtifactError: a file is not what was pinned.
        ProtocolError: the files hold something else than the catalogue says.
    """
    name, _, tag = name.partition(":")
    entry = entry_of(name)
    suite = _read_once(entry, suite_folder(entry))
    if not tag:
        return suite
    if tag not in suite.tags:
        raise unknown(f"split of {name}", tag, suite.tags)
    kept = tuple(prompt for prompt in suite if prompt.tag == tag)
    return replace(suite, name=f"{name}:{tag}", prompts=kept)


def suite(*, name: str) -> PromptSuite:
    """As `load_suite`, for `suite: {function: "bench.suites:suite", options: {name: ...}}`."""
    return load_suite(name)


def fetch_suite(
    name: str,
    *,
    source: Path | None = None,
    timeout_seconds: float = 30.0,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> PromptSuite:
    """Bring a suite onto this machine and return it.

    A file that the catalogue pins must have that hash; any other is pinned as it comes.

    Args:
        name: of the catalogue.
        source: a folder that holds the files, or the file where there is one; None downloads.
        timeout_seconds: of a stalled connection.
        progress: told file name, bytes here, bytes in all.

    Raises:
        UsageError: it is unknown, or `source` lacks a file.
        PrerequisiteError, CorruptArtifactError, BenchError: as `download`.
        ProtocolError: as `load_suite`. Nothing is pinned then.
    """
    entry = entry_of(name)
    folder = suite_folder(entry)
    pins = _pins(folder)
    new = [f.name for f in entry.files if f.sha256 is None and f.name not in pins]
    for file in entry.files:
        expected = file.sha256 or pins.get(file.name, {}).get("sha256")
        if source is not None:
            digest = _take(source, entry, file, folder / file.name, expected)
        else:
            order = Order(
                url=file.url,
                target=folder / file.name,
                sha256=expected,
                fix=f"on a machine with network: python -m bench assets fetch {name}, then copy "
                f"{folder} here; or: python -m bench assets fetch {name} --from FOLDER",
                timeout_seconds=timeout_seconds,
            )
            told = None if progress is None else _named(progress, file.name)
            digest = download(order, progress=told)
        origin = file.url if source is None else str(source)
        pins.setdefault(file.name, {"sha256": digest, "from": origin})
    try:
        suite = _read(entry, folder, pins=pins)
    except ProtocolError:
        for name_of_file in new:  # what nobody vouches for is not kept
            DISK.unlink(folder / name_of_file)
        raise
    if entry.files:
        text = json.dumps(pins, indent=1, sort_keys=True)
        DISK.write_atomically(folder / PINS, f"{text}\n".encode())
    return suite


def _read_once(entry: SuiteEntry, folder: Path) -> PromptSuite:
    """Return a suite as `_read` does; read once while its files and its pins stay as they are.

    A table asks for its columns' suites several times, and again for each `--set`.
    """
    pins = _pins(folder)
    paths = [folder / file.name for file in entry.files]
    if not all(path.is_file() for path in paths):
        return _read(entry, folder, pins=pins)
    key = (repr(entry), str(folder), json.dumps(pins), *(stamp(path) for path in paths))
    if key not in _KNOWN:
        _KNOWN[key] = _read(entry, folder, pins=pins)
    return _KNOWN[key]


def _read(entry: SuiteEntry, folder: Path, *, pins: dict[str, Any]) -> PromptSuite:
    again = f"remove it, then python -m bench assets fetch {entry.name}"
    contents = {}
    for file in entry.files:
        path = folder / file.name
        if not path.is_file():
            raise PrerequisiteError(
                f"prompt suite {entry.name}: {path} is not there",
                fix=f"python -m bench assets fetch {entry.name}  (licence: {entry.licence})",
            )
        for expected in (file.sha256, pins.get(file.name, {}).get("sha256")):
            check(path, expected, fix=again)
        contents[file.name] = read_bytes(path)
    if entry.reader.function is None:
        return read_prompts(entry, contents)
    function = import_target(entry.reader.function, kind="prompt suite")
    given = dict(entry.reader.options)
    if entry.reader.folder_option:
        given[entry.reader.folder_option] = str(folder)
    if entry.reader.file_option:
        given[entry.reader.file_option] = str(folder / entry.files[0].name)
    found = function(**given)  # type: ignore[operator]
    assert isinstance(found, PromptSuite)
    if len(found) != entry.prompts:
        raise ProtocolError(
            f"{entry.name}: {len(found)} prompts were read, expected {entry.prompts}"
        )
    return replace(found, licence=found.licence or entry.licence)


def _take(
    source: Path, entry: SuiteEntry, file: SuiteFile, target: Path, expected: str | None
) -> str:
    """Copy a file the user has and return its sha256."""
    path = source / file.name if source.is_dir() else source
    if not path.is_file() or (not source.is_dir() and len(entry.files) > 1):
        names = ", ".join(f.name for f in entry.files)
        raise UsageError(f"--from {source}: expected a folder that holds {names}")
    found = file_hash(path)
    if not agrees(found, expected):
        raise CorruptArtifactError(
            f"{path} has sha256 {found}, suite {entry.name} is pinned to {expected}: prompts that "
            "differ give scores that cannot be compared. Take the file of "
            f"{entry.source}, with its line ends as they are."
        )
    if target.is_file():
        return check(target, found, fix=f"remove it, then take {path} again")
    DISK.makedirs(target.parent)
    part = target.with_name(f"{target.name}.part")
    with writing_to(part):
        shutil.copyfile(path, part)
    DISK.fsync(part)
    DISK.replace(part, target)
    return found


def _pins(folder: Path) -> dict[str, Any]:
    """Return what was pinned at the first fetch, by file name."""
    path = folder / PINS
    try:
        found = json.loads(read_text(path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CorruptArtifactError(f"{path} is no JSON: {error}; remove it") from error
    return dict(found)


def _named(
    progress: Callable[[str, int, int | None], None], name: str
) -> Callable[[int, int | None], None]:
    return lambda here, whole: progress(name, here, whole)
