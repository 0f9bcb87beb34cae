"""Which images a folder holds and what their captions are. Nothing is decoded here."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.config.files import kind_of
from bench.read.folders import Listing, listed_below, named, one_each
from bench.read.json_text import json_lines, parse_json
from bench.read.pictures import PICTURES
from bench.read.table_text import SEPARATORS, parse_table, read_text_table, require_spelt
from bench.read.text import (
    MissingFileError,
    read_lines,
    read_text,
    says_nothing,
    shown,
    stands_for_nothing,
)

FILES = ("captions.jsonl", "captions.csv", "metadata.jsonl", "metadata.csv")
"""Looked for in the folder, in this order."""

# column names in use: ours, the hub's image folders, and the published curation tables
_FILE = ("file", "file_name", "filename", "path", "image", "real_image_path", "win_image_path")
_CAPTION = ("caption", "prompt", "text")
_UID = ("uid", "id")
_NEGATIVE = ("negative", "fake_image_path", "lose_image_path")


class _RowError(Exception):
    """A row of a table says two things, or none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One image that may become a pair.

    Attributes:
        uid: its name in every record.
        caption: its text.
        file: the image.
        negative: its degraded copy, where the source brings one.
        fault: why it cannot be used; then the other fields may be empty.
    """

    uid: str
    caption: str = ""
    file: Path | None = None
    negative: Path | None = None
    fault: str | None = None


def resolve_folder(folder: str) -> Path:
    """Return the folder of images; `hub:owner/name[@revision]` is looked up in the hub's cache.

    Raises:
        UsageError: there is no such folder.
        PrerequisiteError: the data set is not in the cache.
    """
    if not folder.startswith("hub:"):
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise UsageError(f"there is no folder {path}; name the folder of images (--images).")
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, _, revision = folder.removeprefix("hub:").partition("@")
    try:
        return Path(
            snapshot_download(
                repository, repo_type="dataset", revision=revision or None, local_files_only=True
            )
        )
    except (LocalEntryNotFoundError, OSError) as error:
        at = f" --revision {revision}" if revision else ""
        raise PrerequisiteError(
            f"the data set {repository} is not in the Hugging Face cache",
            fix=f"hf download {repository} --repo-type dataset{at}  (with the network on)",
        ) from error


def find_candidates(folder: Path, captions: str | None = None) -> list[Candidate]:
    """Return the images of a folder in a fixed order, those that cannot be used among them.

    A caption table rules the order; images it does not name come last, as faults. Without a table
    every image takes the text file of the same stem beside it. Of two rows of one uid the first
    counts. What else lies in the folder is said.

    Args:
        folder: of images, searched with its sub-folders.
        captions: JSONL or CSV, relative to the folder or absolute; None looks for `FILES`.

    Raises:
        UsageError: the folder holds no image, the table cannot be read at all, or there are two.
        IncompleteError: links lead nowhere.
        ProtocolError: images differ in their ending alone, and each takes the same text.
    """
    listings = listed_below(folder)
    images = sorted(path for listing in listings for path in listing.pictures())
    table = _table(folder, captions)
    _say_left(listings, table)
    if table is None:
        for listing in listings:
            one_each(
                listing.pictures(),
                "one text file for both, where captions.jsonl would name each",
            )
        found = [_with_sidecar(path, folder) for path in images]
    else:
        found = list(_from_table(table, folder, images))
    if not found:
        raise UsageError(
            f"{shown(folder)} holds no image; expected files ending in {', '.join(PICTURES)}."
        )
    seen: set[str] = set()
    kept = []
    for number, candidate in enumerate(found):
        uid = candidate.uid
        if uid in seen:
            fault = f"duplicate: the uid {uid!r} was taken before"
            candidate = Candidate(uid=f"{uid}#{number}", file=candidate.file, fault=fault)
        seen.add(candidate.uid)
        kept.append(candidate)
    return kept


def _table(folder: Path, captions: str | None) -> Path | None:
    if captions is None:
        found = [folder / name for name in FILES if os.path.lexists(folder / name)]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise UsageError(f"{shown(folder)} holds {names}; name the one with --captions.")
        return found[0] if found else None
    for path in (folder / captions, Path(captions).expanduser()):
        if path.is_file():
            return path
    raise UsageError(f"there is no caption file {captions}, nor is it in {folder}.")


def _with_sidecar(path: Path, folder: Path) -> Candidate:
    uid = _uid_of(path, folder)
    try:
        lines = [one.strip() for one in read_lines(path.with_suffix(".txt"))]
    except MissingFileError:
        return Candidate(uid=uid, file=path, fault="no caption: no text file beside it")
    except UsageError as error:
        return Candidate(uid=uid, file=path, fault=f"no caption: the text is unreadable ({error})")
    told = [one for one in lines if not says_nothing(one)]
    if len(told) > 1:  # captions of several people, a wrapped one, a caption and its tags?
        fault = f"no caption: {len(told)} lines in its text; keep the one that is meant"
        return Candidate(uid=uid, file=path, fault=fault)
    return _checked(Candidate(uid=uid, caption=" ".join(" ".join(told).split()), file=path))


def _uid_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _checked(candidate: Candidate) -> Candidate:
    text = candidate.caption
    if not says_nothing(text) and not stands_for_nothing(text):
        return candidate
    fault = "it is empty" if says_nothing(text) else f"{text!r} stands for an empty cell"
    return Candidate(uid=candidate.uid, file=candidate.file, fault=f"no caption: {fault}")


def _from_table(table: Path, folder: Path, images: list[Path]) -> Iterator[Candidate]:
    by_stem: dict[str, list[Path]] = {}
    for path in images:
        by_stem.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
    used: set[Path] = set()
    for number, row in _rows(table):
        where = f"{table.name}, line {number}"
        if isinstance(row, str):
            yield Candidate(uid=where, fault=f"unreadable line: {number} of {table.name}: {row}")
            continue
        candidate = _from_row(row, where, folder, by_stem)
        used |= {path for path in (candidate.file, candidate.negative) if path}
        yield candidate
    for path in images:
        if Path(os.path.normpath(path)) not in used:
            fault = f"no caption: {table.name} does not name it"
            yield Candidate(uid=_uid_of(path, folder), file=path, fault=fault)


def _from_row(
    row: Mapping[str, Any], where: str, folder: Path, by_stem: Mapping[str, Sequence[Path]]
) -> Candidate:
    try:
        file, uid = _value(row, _FILE), _value(row, _UID, number=True)
        other, told = _value(row, _NEGATIVE), _value(row, _CAPTION) or ""
    except _RowError as error:
        return Candidate(uid=where, fault=f"unreadable line: {where}: {error}")
    if not file and not uid:
        return Candidate(uid=where, fault=f"no image: {where} names none, and no uid")
    if file:
        path, fault = _inside(folder, file)
    else:
        assert uid is not None
        found = by_stem.get(unicodedata.normalize("NFC", uid), ())
        path = Path(os.path.normpath(found[0])) if len(found) == 1 else None
        fault = None if path else f"no image: none of uid {uid!r}"
        if len(found) > 1:
            names = ", ".join(p.relative_to(folder).as_posix() for p in found)
            fault = f"no image: several of uid {uid!r} ({names})"
    uid = uid or (_uid_of(path, folder) if path else str(file))
    if path is None:
        return Candidate(uid=uid, fault=fault)
    negative, fault = _inside(folder, other) if other else (None, None)
    if fault:
        return Candidate(uid=uid, file=path, fault=f"no negative: {fault}")
    caption = " ".join(told.split())
    return _checked(Candidate(uid=uid, caption=caption, file=path, negative=negative))


def _inside(folder: Path, name: str) -> tuple[Path | None, str | None]:
    """Return the file of that name in the folder, or why there is none."""
    # by name alone: the files of the hub's cache are links that lead out of it
    path = Path(os.path.normpath(named(folder, name)))
    if not path.is_relative_to(os.path.normpath(folder)):
        return None, f"outside: {name} leads out of the folder"
    if path.is_file():
        return path, None
    hint = " (names are separated by \\, expected /)" if "\\" in name else ""
    return None, f"no image: {name} is missing{hint}"


def _value(row: Mapping[str, Any], names: tuple[str, ...], *, number: bool = False) -> str | None:
    """Return the text in the columns of one thing, None where they are empty.

    Raises:
        _RowError: columns say unlike things, or one holds no text.
    """
    found: dict[str, str] = {}
    for name in names:
        value = row.get(name)
        if number and type(value) is int:
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise _RowError(f"{name} is {str(value)[:60]!r} ({kind_of(value)}); expected a text")
        if value is not None and value.strip():
            found[name] = value.strip()
    if len(set(found.values())) > 1:
        raise _RowError(f"unlike texts in {' and '.join(found)}; keep one of these columns")
    return next(iter(found.values()), None)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield (line, row), or of a line that is no row why not."""
    text, name = read_text(table), shown(table)
    separator = SEPARATORS.get(table.suffix.lower())
    if separator is not None:
        found = parse_table(text, name, separator=separator)
        require_spelt(found.columns, (*_FILE, *_UID, *_CAPTION, *_NEGATIVE), name)
        if not ({*_FILE, *_UID} & set(found.columns) and set(_CAPTION) & set(found.columns)):
            raise UsageError(
                f"{name} has the columns {', '.join(found.columns)}; expected one of "
                f"{', '.join((*_FILE, *_UID))}, and one of {', '.join(_CAPTION)}."
            )
        for row in found.rows:
            yield row.line, row.fault or dict(row.values)
        return
    for number, line in json_lines(text, name):
        try:
            value = parse_json(line, f"line {number}")
        except UsageError as error:
            yield number, str(error)
            continue
        kind = type(value).__name__
        yield number, value if isinstance(value, dict) else f"a {kind}; expected an object"


def _say_left(listings: Sequence[Listing], table: Path | None) -> None:
    """Log what is no image, nor a caption's text."""
    for listing in listings:
        stems = {path.stem for path in listing.pictures()}
        texts = [p for p in listing.files if p.suffix == ".txt" and p.stem in stems]
        tables = [p for p in listing.files if p == table or p.name in FILES]
        known = [*listing.pictures(), *listing.folders, *tables, *(texts if table is None else ())]
        listing.say(known)


def read_uids(path: str) -> list[str]:
    """Return the uids of a CSV with a column `uid` (as text: `0000` keeps its zeros).

    Raises:
        UsageError: there is no such file or column.
    """
    table = read_text_table(Path(path).expanduser())
    if "uid" not in table.columns:
        columns = ", ".join(table.columns)
        raise UsageError(f"{path} has the columns {columns}; expected a column 'uid'.")
    uids = [row.values["uid"].strip() for row in table.whole() if row.values["uid"].strip()]
    return list(dict.fromkeys(uids))
