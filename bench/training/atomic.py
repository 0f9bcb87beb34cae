"""Folders that appear whole or not at all, and lines that survive a crash."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.api.errors import StoreError

TEMPORARY = ".tmp-"


def flush_to_disk(path: Path) -> None:
    """Make the bytes of a file, or the entries of a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename within a folder; the one step that publishes."""
    source.rename(target)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` when the block ends without an error.

    An older `target` is replaced. A crash at any moment leaves the old folder, or the new one
    whole, and perhaps a temporary one, which the next call removes.

    Raises:
        StoreError: the folder cannot be written.
    """
    temporary = target.parent / f"{TEMPORARY}{target.name}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        yield temporary
        _publish(temporary, target)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _not_written(target, error) from error
    except Exception:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _publish(temporary: Path, target: Path) -> None:
    for path in sorted(temporary.rglob("*")):
        flush_to_disk(path)
    flush_to_disk(temporary)
    if target.exists():
        old = target.parent / f"{TEMPORARY}old-{target.name}"
        shutil.rmtree(old, ignore_errors=True)
        rename(target, old)
        rename(temporary, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        rename(temporary, target)
    flush_to_disk(target.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what an interrupted `atomic_folder` left in `folder`."""
    for path in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write sorted, indented JSON; a file that was there is replaced in one step.

    Raises:
        StoreError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(data, indent=1, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; one that was there is replaced in one step.

    Raises:
        StoreError: the file cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        temporary.write_bytes(data)
        flush_to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _not_written(path, error) from error


class JsonLines:
    """A file of one JSON object per line, flushed after each.

    Args:
        path: the file; its folder must exist.
        keep_until: lines whose `step` is larger are dropped, and so is a torn last line: they
            come from steps after the checkpoint a run resumes from.

    Raises:
        StoreError: the file cannot be written.
    """

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.path = path
        try:
            kept = []
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                try:
                    if json.loads(line)["step"] <= keep_until:
                        kept.append(line + "\n")
                except ValueError:
                    continue
            temporary = path.with_name(f"{TEMPORARY}{path.name}")
            temporary.write_text("".join(kept), encoding="utf-8")
            temporary.replace(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise _not_written(path, error) from error

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line."""
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise _not_written(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _not_written(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot write {path}: {error.strerror or error}. Nothing half-written is left in its "
        "place; free space or choose another folder, then run the same command again."
    )
