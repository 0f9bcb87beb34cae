"""Step 1: the real images as squares of pixels, with their captions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from bench.api.errors import BenchError, UsageError
from bench.api.loading import import_target
from bench.api.prompts import PromptSuite
from bench.data.curation.captions import Candidate, find_candidates, read_uids, resolve_folder
from bench.data.curation.engine import Progress, Row, Step, Verdict, run_step, watched
from bench.data.curation.hashes import MEMORY, listing_sha256
from bench.data.curation.picture import READER, VERSION, UnusableError, read_square
from bench.data.curation.settings import CurationSettings, SourceSettings
from bench.generation.encode import write_image
from bench.generation.image_set import open_image_set
from bench.read.folders import few
from bench.read.markup import say_markup
from bench.store import Artifact, Foreign, RememberedHashes, Source, Store, Work, foreign_part

if TYPE_CHECKING:
    import numpy as np

LOG = logging.getLogger(__name__)

NAME = "source"


class PicturesChangedError(BenchError):
    """Pictures were changed while a run read them (exit 1)."""


class Renderer(Protocol):
    """A module that draws what the prompts of its world mean."""

    def image_set_identity(
        self, store: Store, suite: PromptSuite, images_per_prompt: int, *, seed: int
    ) -> dict[str, Any]:
        """Return the identity of the image set."""

    def render_image_set(
        self, store: Store, suite: PromptSuite, images_per_prompt: int, *, seed: int
    ) -> Artifact:
        """Return the image set."""


class Photographs:
    """The images of a run before they are read.

    Args:
        store: of the run.
        settings: of the run.

    Raises:
        UsageError: the folder, the captions or the suite cannot be read at all.
        PrerequisiteError: the data set is not on this machine.
    """

    def __init__(self, store: Store, settings: CurationSettings) -> None:
        self._store = store
        self._settings = settings
        self._source = settings.source
        self._folder: Path | None = None
        self._copies: list[str] = []
        if self._source.kind == "folder":
            self._folder = resolve_folder(str(self._source.folder))
            found = find_candidates(self._folder, self._source.captions)
        else:
            found = [Candidate(uid=p.id, caption=p.text) for p in self._suite()]
        self.candidates = _chosen(found, self._source)

    def step(self) -> Step:
        """Return the step: contents of the files count, not where they lie."""
        identity: dict[str, Any] = {
            "version": VERSION,
            "size": self._settings.size,
            "min_side": self._source.min_side,
        }
        sources: tuple[Source, ...] = ()
        if self._folder is None:
            renderer, part = self._renderer()
            own = renderer.image_set_identity(self._store, self._suite(), 1, seed=self._source.seed)
            identity["rendered"] = {**own, **part.identity}
            sources = part.sources
            identity["uids"] = listing_sha256([c.uid, c.fault] for c in self.candidates)
        else:
            identity["files"] = self._listing()
            identity["reader"] = READER
        return Step(run=self._settings.name, name=NAME, identity=identity, sources=sources)

    def _listing(self) -> str:
        hashes = RememberedHashes(self._store, MEMORY)

        def digest(path: Path | None) -> str | None:
            try:
                return hashes.of(path) if path else None
            except OSError:
                return None

        rows = [
            [c.uid, c.caption, c.fault, digest(c.file), digest(c.negative)] for c in self.candidates
        ]
        hashes.save()
        self._copies = _copies(rows)
        return listing_sha256(rows)

    def _suite(self) -> PromptSuite:
        target = dict(self._source.suite or {})
        function = import_target(str(target.get("function")), kind="suite")
        suite = function(**dict(target.get("options") or {})) if callable(function) else None
        if not isinstance(suite, PromptSuite):
            raise UsageError(f"source.suite: {target.get('function')} gives no prompt suite.")
        return suite

    def _renderer(self) -> tuple[Renderer, Foreign]:
        target = f"{self._source.renderer}:render_image_set"
        import_target(target, kind="renderer")
        return cast("Renderer", sys.modules[str(self._source.renderer)]), foreign_part(target)

    def with_files(self) -> list[Candidate]:
        """Return the candidates with their files, drawing them first where need be."""
        if self._folder is not None:
            return self.candidates
        renderer, part = self._renderer()
        drawn = open_image_set(
            renderer.render_image_set(
                watched(self._store, part.sources).marked(part.identity),
                self._suite(),
                1,
                seed=self._source.seed,
            ),
            verify=False,
        )
        files = {record.prompt_id: drawn.root / record.path for record in drawn.records}
        return [replace(c, file=files[c.uid]) for c in self.candidates]

    def run(self, progress: Progress | None = None) -> Artifact:
        """Return the artifact: `images/` (and `given/`), and a row per candidate."""
        settings, step = self._settings, self.step()
        if self._folder is not None:
            captions = [one.caption for one in self.candidates if not one.fault]
            say_markup(captions, str(self._folder))
        if self._copies:
            LOG.warning(
                "%s: %d of %d images are copies of another one (%s); each counts",
                *(self._folder, len(self._copies), len(self.candidates), few(self._copies)),
            )

        def unchanged() -> None:
            if self._folder is not None and self._listing() != step.identity["files"]:
                raise PicturesChangedError(
                    f"pictures of {self._folder} were changed while they were read; nothing was "
                    "published that may be of both.\n"
                    "  to mend it: leave them alone, and run the same command again"
                )

        def measure(work: Work, uids: Sequence[str], missing: frozenset[str]) -> Iterator[Row]:
            for number, candidate in enumerate(self.with_files()):
                if candidate.uid in missing:
                    yield _row(work, candidate, f"{number:06d}.png", settings)

        return run_step(
            self._store,
            step,
            lambda: [c.uid for c in self.candidates],
            measure,
            _summary,
            config={"source": _shown(settings.source)},
            progress=progress,
            require=unchanged,
        )


def _copies(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the uids of images that may be used and hold what an earlier one does."""
    seen: set[str] = set()
    found = []
    for uid, _, fault, digest, _ in rows:
        if not fault and digest in seen:
            found.append(str(uid))
        elif not fault and digest:
            seen.add(digest)
    return found


def _shown(settings: SourceSettings) -> dict[str, Any]:
    return {"kind": settings.kind, "folder": settings.folder, "captions": settings.captions}


def _chosen(found: Sequence[Candidate], settings: SourceSettings) -> list[Candidate]:
    """Return the candidates that are asked for; uids that are not there become faults."""
    chosen = list(found)
    if settings.uids is not None:
        wanted = read_uids(settings.uids)
        by_uid = {**{Path(c.uid).name: c for c in found}, **{c.uid: c for c in found}}
        missing = "not in the source: the list of uids names it"
        chosen = [by_uid.get(uid, Candidate(uid=uid, fault=missing)) for uid in wanted]
    return chosen[: settings.limit]


def _row(work: Work, candidate: Candidate, name: str, settings: CurationSettings) -> Row:
    """Read one candidate and write its square; a fault becomes a reason."""
    row: Row = {"uid": candidate.uid, "caption": candidate.caption, "files": []}
    if candidate.fault or candidate.file is None:
        return {**row, "reason": candidate.fault or "no image"}
    row["file"] = candidate.file.name
    try:
        pixels, odd = read_square(candidate.file, settings.size, min_side=settings.source.min_side)
        row["odd"] = odd
        given = None
        if candidate.negative is not None:
            given, _ = read_square(candidate.negative, settings.size)
    except UnusableError as error:
        return {**row, "reason": str(error)}
    row["image"] = _write(work, f"images/{name}", pixels)
    row["files"] = [row["image"]]
    if given is not None:
        row["negative"] = _write(work, f"given/{name}", given)
        row["files"].append(row["negative"])
    return row


def _write(work: Work, name: str, pixels: np.ndarray) -> str:
    write_image(work.file(name), pixels, "png", work.disk)
    return name


def _summary(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    used = [row for row in rows if not row.get("reason")]
    captions = [row["caption"] for row in used]
    return Verdict(
        summary={
            "odd": sum(bool(row["odd"]) for row in used),
            "same_caption_as_another": len(captions) - len(set(captions)),
        }
    )
