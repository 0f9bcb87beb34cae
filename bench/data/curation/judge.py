"""Step 2, off unless it is asked for: drop what is no photograph.

A judge looks at an image and answers yes or no. A judge that keeps everything is none: without
one the step is left out.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api.errors import UsageError, unknown
from bench.api.loading import import_target
from bench.data.curation.engine import (
    Progress,
    Row,
    Step,
    Verdict,
    batches,
    kept,
    read_pixels,
    run_step,
)
from bench.data.curation.settings import CurationSettings
from bench.store import Artifact, Store, Work, foreign_part

if TYPE_CHECKING:
    import numpy as np

NAME = "photos"
VERSION = 1

JUDGES: dict[str, str] = {"vlm": "bench.data.curation.vlm:VisionLanguageJudge"}
"""Name -> where the class is."""

_FIRST_WORD = re.compile(r"[a-z]+")


class PhotoJudge(ABC):
    """Says of an image whether it is artwork.

    Attributes:
        name: in records and identities.
        version: bumped whenever its answers may change.
        device: where it runs; set by who runs it.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    device: str | None = None

    def identity(self) -> dict[str, Any]:
        """Return what can change the answers; override to add hashes of weights."""
        return {"name": self.name, "version": self.version}

    @abstractmethod
    def replies(self, images: Sequence[np.ndarray]) -> list[str]:
        """Return the raw reply for each (H, W, 3) uint8 image: `yes` where it is artwork."""


def load_judge(name: str, options: Mapping[str, Any]) -> PhotoJudge:
    """Return the judge of a name, or of `pkg.mod:Class`.

    Raises:
        UsageError: it is unknown, or does not take these options.
    """
    if name not in JUDGES and ":" not in name:
        raise unknown("judge", name, JUDGES)
    found = import_target(JUDGES.get(name, name), kind="judge")
    if not (isinstance(found, type) and issubclass(found, PhotoJudge)):
        raise UsageError(f"judge {name!r} is no subclass of PhotoJudge.")
    try:
        return found(**options)
    except TypeError as error:
        raise UsageError(f"judge.options of {name!r}: {error}") from error


def read_reply(reply: str) -> bool | None:
    """Return whether a reply says artwork; None where it says neither yes nor no.

    >>> read_reply("No."), read_reply("yes"), read_reply("It is a photo")
    (False, True, None)
    """
    word = _FIRST_WORD.search(reply.lower())
    return {"yes": True, "no": False}.get(word.group()) if word else None


class Photos:
    """The step; see `bench.data.curation.run`.

    Args:
        store: of the run.
        settings: of the run; `judge.name` is set.
        source: id of the step that holds the images.
    """

    def __init__(self, store: Store, settings: CurationSettings, *, source: str) -> None:
        self._store = store
        self._judge = load_judge(str(settings.judge.name), settings.judge.options)
        name = str(settings.judge.name)
        code = foreign_part(JUDGES.get(name, name), type(self._judge))
        self.step = Step(
            run=settings.name,
            name=NAME,
            identity={"version": VERSION, "judge": {**self._judge.identity(), **code.identity}},
            upstream={"images": source},
            sources=code.sources,
        )

    def run(self, *, device: str, batch_size: int, progress: Progress | None = None) -> Artifact:
        """Return the artifact: a row with the raw `reply` per image."""
        store, source_id = self._store, self.step.upstream["images"]
        self._judge.device = device

        def measure(work: Work, uids: Sequence[str], missing: frozenset[str]) -> Iterator[Row]:
            source = store.get(source_id)
            images = {row["uid"]: row["image"] for row in kept(source)}
            for some in batches([uid for uid in uids if uid in missing], batch_size):
                pixels = [read_pixels(source, images[uid]) for uid in some]
                for uid, reply in zip(some, self._judge.replies(pixels), strict=True):
                    yield {"uid": uid, "reply": reply}

        return run_step(
            store,
            self.step,
            lambda: [row["uid"] for row in kept(store.get(source_id))],
            measure,
            _decide,
            device=lambda: device,
            progress=progress,
        )


def _decide(rows: Sequence[Row]) -> Verdict:
    reasons = {}
    for row in rows:
        artwork = read_reply(row["reply"])
        if artwork is None:
            reasons[row["uid"]] = f"unreadable reply: {row['reply'][:40]!r}"
        elif artwork:
            reasons[row["uid"]] = f"not a photograph: the judge said {row['reply'][:40]!r}"
    unread = sum(read_reply(row["reply"]) is None for row in rows)
    return Verdict(reasons=reasons, summary={"unreadable_replies": unread})
