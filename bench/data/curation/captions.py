"""Which images a folder holds and what their captions are. Nothing is decoded here."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.api.files import files_below
from bench.data.curation.picture import SUFFIXES

FILES = ("captions.jsonl", "captions.csv", "metadata.jsonl", "metadata.csv")
"""Looked for in the folder, in this order."""

# column names in use: ours, the hub's image folders, and the published curation tables
_FILE = ("file", "file_name", "filename", "path", "image", "real_image_path", "win_image_path")
_CAPTION = ("caption", "prompt", "text")
_UID = ("uid", "id")
_NEGATIVE = ("negative", "fake_image_path", "lose_image_path")


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
    counts.

    Args:
        folder: of images, searched with its sub-folders.
        captions: JSONL or CSV, relative to the folder or absolute; None looks for `FILES`.

    Raises:
        UsageError: the folder holds no image, or the table cannot be read at all.
    """
    images = sorted(
        path
        for path in files_below(folder)
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    table = _table(folder, captions)
    if table is None:
        found = [_with_sidecar(path, folder) for path in images]
    else:
        found = list(_from_table(table, folder, images))
    if not found:
        raise UsageError(
            f"{folder} holds no image; expected files ending in {', '.join(SUFFIXES)}."
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
        return next((folder / name for name in FILES if (folder / name).is_file()), None)
    for path in (folder / captions, Path(captions).expanduser()):
        if path.is_file():
            return path
    raise UsageError(f"there is no caption file {captions}, nor is it in {folder}.")


def _with_sidecar(path: Path, folder: Path) -> Candidate:
    uid = _uid_of(path, folder)
    try:
        caption = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return Candidate(uid=uid, file=path, fault="no caption: no text file beside it")
    except (OSError, ValueError) as error:
        return Candidate(uid=uid, file=path, fault=f"no caption: the text is unreadable ({error})")
    return _checked(Candidate(uid=uid, caption=" ".join(caption.split()), file=path))


def _uid_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _checked(candidate: Candidate) -> Candidate:
    if candidate.caption:
        return candidate
    return Candidate(uid=candidate.uid, file=candidate.file, fault="no caption: it is empty")


def _from_table(table: Path, folder: Path, images: list[Path]) -> Iterator[Candidate]:
    by_stem = {path.stem: path for path in reversed(images)}
    named: set[Path] = set()
    for number, row in _rows(table):
        where = f"{table.name}, line {number}"
        if row is None:
            yield Candidate(uid=where, fault=f"unreadable line: {number} of {table.name}")
            continue
        candidate = _from_row(row, where, folder, by_stem)
        named |= {path for path in (candidate.file, candidate.negative) if path}
        yield candidate
    for path in images:
        if Path(os.path.normpath(path)) not in named:
            fault = f"no caption: {table.name} does not name it"
            yield Candidate(uid=_uid_of(path, folder), file=path, fault=fault)


def _from_row(
    row: Mapping[str, Any], where: str, folder: Path, by_stem: Mapping[str, Path]
) -> Candidate:
    file, uid = _value(row, _FILE), _value(row, _UID)
    if not file and not uid:
        return Candidate(uid=where, fault=f"no image: {where} names none, and no uid")
    if file:
        path, fault = _inside(folder, file)
    else:
        assert uid is not None
        found = by_stem.get(uid)
        path = Path(os.path.normpath(found)) if found else None
        fault = None if found else f"no image: none of uid {uid!r}"
    uid = uid or (_uid_of(path, folder) if path else str(file))
    if path is None:
        return Candidate(uid=uid, fault=fault)
    other = _value(row, _NEGATIVE)
    negative, fault = _inside(folder, other) if other else (None, None)
    if fault:
        return Candidate(uid=uid, file=path, fault=f"no negative: {fault}")
    caption = " ".join((_value(row, _CAPTION) or "").split())
    return _checked(Candidate(uid=uid, caption=caption, file=path, negative=negative))


def _inside(folder: Path, name: str) -> tuple[Path | None, str | None]:
    """Return the file of that name in the folder, or why there is none."""
    # by name alone: the files of the hub's cache are links that lead out of it
    path = Path(os.path.normpath(folder / name))
    if not path.is_relative_to(os.path.normpath(folder)):
        return None, f"outside: {name} leads out of the folder"
    return (path, None) if path.is_file() else (None, f"no image: {name} is missing")


def _value(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = row.get(name)
        if value is not None and str(value).strip():
            return str(value).strip()
    return None


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield (line, row), None for a line that is no row."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the captions {table}: {error}") from error
    if table.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True))
        known = {*_FILE, *_UID} & set(reader.fieldnames or ())
        if not known:
            raise UsageError(
                f"{table} has the columns {', '.join(reader.fieldnames or ()) or '(none)'}; "
                f"expected one of {', '.join((*_FILE, *_UID))}, and one of {', '.join(_CAPTION)}."
            )
        for row in reader:
            yield reader.line_num, {k: v for k, v in row.items() if isinstance(k, str)}
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found: Any = json.loads(line)
        except ValueError:
            found = None
        yield number, found if isinstance(found, dict) else None


def read_uids(path: str) -> list[str]:
    """Return the uids of a CSV with a column `uid` (as text: `0000` keeps its zeros).

    Raises:
        UsageError: there is no such file or column.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the list of uids {path}: {error}") from error
    reader = csv.DictReader(text.splitlines(keepends=True))
    if "uid" not in (reader.fieldnames or ()):
        raise UsageError(f"{path} has the columns {reader.fieldnames}; expected a column 'uid'.")
    uids = [row["uid"].strip() for row in reader if (row["uid"] or "").strip()]
    return list(dict.fromkeys(uids))
