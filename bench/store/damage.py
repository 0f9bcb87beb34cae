"""Damaged artifacts, from being found to being made anew.

Whoever reads a file of an artifact and finds other bytes than its manifest names, marks the
artifact: its cheap look fails from then on, in this run and in later ones, so that whatever makes
it makes it anew. What nothing here can make is said to be a missing prerequisite.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from bench.api.errors import PrerequisiteError, StoreError
from bench.store.writer import DISK

FOUND: set[Path] = set()
"""Folders of the artifacts this process found damaged."""


def mark_damaged(folder: Path, file: Path) -> None:
    """Let every later look at an artifact see that `file` of it was changed.

    Its modification time no longer is the manifest's; a look hashes such a file.
    """
    FOUND.add(folder)
    with suppress(StoreError, OSError):  # a read-only store stays as it is
        os.stat(file)  # noqa: PTH116 (a missing file is seen by any look)
        DISK.set_modified(file, time.time_ns())


def state_of(folder: Path) -> int | None:
    """Return what tells one making of an artifact from another; None where it is gone."""
    try:
        return (folder / "manifest.json").stat().st_mtime_ns
    except OSError:
        return None


def nobody_makes(folder: Path, reason: str) -> PrerequisiteError:
    """Return the error for a damaged artifact that the command asked for but does not make."""
    name, kind = folder.name, folder.parent.name
    if name.startswith("imported."):
        fix = f"rm -r {folder}, and name the folder of the pictures again (--images DIR)"
    else:
        made = {
            "images": "python -m bench generate ...",
            "train": "python -m bench train ...",
            "curation": "python -m bench curate ...",
        }.get(kind, "python -m bench run ...")
        fix = f"rm -r {folder}, and make it again with the command that made it ({made})"
    return PrerequisiteError(
        f"{kind}/{name} is damaged, and this command does not make it: {reason}", fix=fix
    )
