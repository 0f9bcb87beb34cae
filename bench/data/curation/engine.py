"""One step over many images: measured one by one, resumable after any of them, then decided.

What a step's artifact holds:

    records.jsonl   one row per image that entered: uid, kept, reason, what was measured
    summary.json    counts, thresholds, what else the step says of itself
    ...             files of images that were made

Seconds are in the manifest's notes: they differ from run to run, the bytes do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.api.errors import UsageError
from bench.store import (
    Artifact,
    Entry,
    Journal,
    Source,
    Store,
    Work,
    modules_of,
    read_jsonl,
    require_unchanged,
    watching,
    write_jsonl,
)

KIND = "curation"
RECORDS_FILE, SUMMARY_FILE = "records.jsonl", "summary.json"
LEDGER = "ledger.jsonl"
"""A scratch file: it is removed before the step is published."""

Row = dict[str, Any]
"""A JSON-able record with `uid`; `files` lists the paths of the files written for it."""

Measure = Callable[[Work, Sequence[str], frozenset[str]], Iterator[Row]]
"""(work, all uids in order, those still to do) -> a row for each that was still to do."""

Progress = Callable[[str, int, int], None]
"""(step, images done, images in all)."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a step decides once every image is measured.

    Attributes:
        reasons: uid -> why it is dropped; all others are kept.
        summary: what the step says of itself.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step before it runs.

    Attributes:
        run: name of the run.
        name: of the step.
        identity: everything that can change its rows and files.
        upstream: role -> artifact id of the steps it reads.
        sources: third parties' code in the identity, compared again before anything is published.
    """

    run: str
    name: str
    identity: Mapping[str, Any]
    upstream: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()

    @property
    def title(self) -> str:
        """The artifact's name."""
        return f"{self.run}.{self.name}"

    def whole_identity(self) -> dict[str, Any]:
        """Return what enters the artifact's hash."""
        return {"step": self.name, **self.identity, "upstream": dict(self.upstream)}


def run_step(
    store: Store,
    step: Step,
    subjects: Callable[[], Sequence[str]],
    measure: Measure,
    decide: Callable[[Sequence[Row]], Verdict],
    *,
    device: Callable[[], str] | None = None,
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    require: Callable[[], None] = lambda: None,
) -> Artifact:
    """Return the artifact of a step, making what is missing of it.

    Args:
        store: where it goes.
        step: what it is.
        subjects: the uids that enter, in order; asked only where the step is made.
        measure: makes the rows.
        decide: who is dropped; pure.
        device: what it is computed on, for the manifest; a CPU where None.
        config: for the manifest.
        progress: called after each image.
        require: called before anything is published; raises where what was read has changed.

    Raises:
        StoreError: the disk fails.
        BenchError: as `require`.
    """

    def make(work: Work) -> None:
        uids = list(subjects())
        ledger = Ledger(work)
        missing = frozenset(uids) - ledger.rows.keys()
        began = time.perf_counter()
        for row in measure(work, uids, missing):
            now = time.perf_counter()
            ledger.add(row, now - began)
            if progress:
                progress(step.name, len(ledger.rows), len(uids))
            began = time.perf_counter()
        rows = [ledger.rows[uid] for uid in uids]
        verdict = decide(rows)
        for row in rows:
            row["reason"] = row.get("reason") or verdict.reasons.get(row["uid"])
            row["kept"] = row["reason"] is None
        write_jsonl(work, RECORDS_FILE, rows)
        counts = {"entered": len(rows), "kept": sum(row["kept"] for row in rows)}
        work.write_json(SUMMARY_FILE, {**counts, **verdict.summary})
        work.note("images", len(rows))
        work.note("seconds", round(ledger.seconds, 3))

    def check() -> None:
        for source in step.sources:
            require_unchanged(source)
        require()

    if step.sources:
        store = watched(store, step.sources)
    return store.checked(check).build(
        KIND,
        step.title,
        step.whole_identity(),
        make,
        upstream=step.upstream,
        config=config,
        device=device() if device else "cpu",
        exclude=(LEDGER,),
    )


def watched(store: Store, sources: Sequence[Source]) -> Store:
    """Return the store that records what third parties' code reads while it works."""
    return watching(store, modules_of(sources), sources)


class Ledger:
    """The rows that are done, each sealed with the files that belong to it.

    A row counts when its line is whole and its files have their bytes; else it is made again.

    Args:
        work: the working folder.
    """

    def __init__(self, work: Work) -> None:
        self._journal = Journal(work.path, LEDGER, work.disk)
        self.rows: dict[str, Row] = {}
        self.seconds = 0.0
        for entry in self._journal.entries.values():
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        self.rows[entry.key] = entry.data["row"]
        self.seconds += float(entry.data["seconds"])

    def add(self, row: Row, seconds: float) -> None:
        """Note a row whose files are on disk."""
        key = str(row["uid"])
        self._journal.seal(key, row.get("files", ()), {"row": row, "seconds": seconds})
        self._take(self._journal.entries[key])


def batches(uids: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the uids in batches of `size`, the last perhaps smaller."""
    if size < 1:
        raise UsageError(f"batch_size is {size}; expected at least 1.")
    return [uids[start : start + size] for start in range(0, len(uids), size)]


def records(artifact: Artifact) -> list[Row]:
    """Return the rows of a step, verified."""
    return read_jsonl(artifact.file(RECORDS_FILE))


def kept(artifact: Artifact) -> list[Row]:
    """Return the rows of the images that a step kept, in order."""
    return [row for row in records(artifact) if row["kept"]]


def read_pixels(artifact: Artifact, name: str) -> Any:
    """Return the pixels of an image file of a step, (H, W, 3) or (H, W) uint8, verified."""
    import numpy as np
    from PIL import Image

    with Image.open(artifact.file(name)) as picture:
        return np.asarray(picture)
