"""Where an interrupted run goes on: at a checkpoint whose bytes and whose exports are whole.

A checkpoint holds the hashes of all exports written so far and a copy of the metrics. So what was
damaged since is found: an export is written again from the checkpoint of its step where that is
still there, else the run goes back to the one before it; the metrics are put back.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import StoreError
from bench.training import checkpoint as ckpt
from bench.training.atomic import write_bytes

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"

Hashes = Mapping[str, Mapping[str, str]]
"""Folder of an export -> file -> sha256."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where a run goes on.

    Attributes:
        saved: the checkpoint; None starts anew.
        again: checkpoints whose export is to be written again.
        newer: checkpoints that are passed over, to be removed.
    """

    saved: ckpt.Checkpoint | None
    again: tuple[ckpt.Checkpoint, ...] = ()
    newer: tuple[ckpt.Checkpoint, ...] = ()

    def remove_newer(self) -> None:
        """Remove what is passed over, lest the run goes on there when it is interrupted again."""
        for passed in self.newer:
            shutil.rmtree(passed.folder, ignore_errors=True)


def export_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of an export; empty where there is no such folder."""
    files = sorted(path for path in folder.glob("**/*") if path.is_file())
    return {path.relative_to(folder).as_posix(): ckpt.file_sha256(path) for path in files}


def damaged_exports(exports: Path, sealed: Hashes) -> list[str]:
    """Return the names of the exports whose files are not as they were written."""
    return [name for name, files in sealed.items() if export_hashes(exports / name) != dict(files)]


def find_resume(checkpoints: Path, exports: Path) -> Resume:
    """Return where a run goes on; says in one line each what was damaged."""
    whole = list(ckpt.whole_checkpoints(checkpoints))
    for number, saved in enumerate(whole):
        damaged = damaged_exports(exports, sealed_exports(saved))
        by_step = {f"step-{found.step:08d}": found for found in whole}
        kept = {name: by_step.get(name.removesuffix("-ema")) for name in damaged}
        lost = [name for name, found in kept.items() if found is None]
        if lost:
            log.warning(
                "the export %s was damaged since it was written and its checkpoint is gone; going "
                "back to before it",
                exports / lost[0],
            )
            continue
        for name in damaged:
            log.warning(
                "the export %s was damaged since it was written; it is written again",
                exports / name,
            )
        again = {found.step: found for found in kept.values() if found is not None}
        return Resume(
            saved=saved,
            again=tuple(again[step] for step in sorted(again)),
            newer=tuple(whole[:number]),
        )
    return Resume(saved=None, newer=tuple(whole))


def sealed_exports(saved: ckpt.Checkpoint) -> dict[str, dict[str, str]]:
    """Return the hashes of the exports that a checkpoint knows."""
    return {name: dict(files) for name, files in saved.state.get("exports", {}).items()}


def put_back_metrics(path: Path, saved: ckpt.Checkpoint | None) -> None:
    """Let the metrics hold what they did at the checkpoint, saying so where they were damaged."""
    copy = None if saved is None else saved.folder / METRICS
    if copy is None or not copy.is_file():
        return
    expected = copy.read_bytes()
    found = path.read_bytes() if path.is_file() else b""
    if not found.startswith(expected):
        log.warning("%s was damaged since it was written; it is put back", path)
    write_bytes(path, expected)


def require_exports(exports: Path, sealed: Hashes) -> None:
    """Make sure that a finished run hands on the exports it wrote.

    Raises:
        StoreError: one was damaged meanwhile.
    """
    damaged = damaged_exports(exports, sealed)
    if damaged:
        raise StoreError(
            f"the export {exports / damaged[0]} was damaged since it was written.\n"
            "  to mend it: run the same command again, which writes it again"
        )
