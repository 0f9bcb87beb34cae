"""Folders that others read, there whole or not at all; and folders that go with the process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.api import StoreError
from bench.read.pictures import read_picture


@contextmanager
def appearing(root: Path) -> Iterator[Path]:
    """Yield a folder that becomes `root` when all went well, and vanishes otherwise.

    Raises:
        StoreError: `root` exists, or cannot be written.
    """
    if root.exists():
        raise StoreError(f"{root} exists already; name a folder that does not, or remove it")
    partial: Path | None = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{root.name}.", suffix=".partial", dir=root.parent))
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        partial.rename(root)
    except OSError as error:
        raise StoreError(f"cannot write {root}: {error}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def copy_as_png(source: Path, target: Path) -> None:
    """Copy a PNG file as it is; decode another and store it as PNG, without loss."""
    found = read_picture(source)
    if found.plain and found.format == "PNG":
        shutil.copyfile(source, target)
    else:
        found.image.save(target, format="PNG")


def scratch() -> Path:
    """Return a new folder that is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="bench-tiles-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
