"""Step 4: the salient region of each real image, as a soft mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

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
from bench.data.curation.saliency import MODELS, load_saliency, switched_on
from bench.data.curation.settings import CurationSettings
from bench.generation.encode import encode
from bench.store import Artifact, Store, Work, foreign_part

NAME = "saliency"
VERSION = 1


class Saliency:
    """The step; see `bench.data.curation.run`.

    Args:
        store: of the run.
        settings: of the run.
        entering: id of the step whose kept images enter.
        source: id of the step that holds the images.
    """

    def __init__(
        self, store: Store, settings: CurationSettings, *, entering: str, source: str
    ) -> None:
        self._store = store
        self._model = load_saliency(settings.saliency.name, settings.saliency.options)
        name = str(settings.saliency.name)
        code = foreign_part(MODELS.get(name, name), type(self._model))
        self.step = Step(
            run=settings.name,
            name=NAME,
            identity={"version": VERSION, "model": {**self._model.identity(), **code.identity}},
            upstream={"entering": entering, "images": source},
            sources=code.sources,
        )

    def run(self, *, device: str, batch_size: int, progress: Progress | None = None) -> Artifact:
        """Return the artifact: `masks/` and a row per image; images without a region are dropped.

        The published code keeps them, and repaints nothing in them.
        """
        store, upstream = self._store, self.step.upstream
        self._model.device = device
        rows = partial(_entering, store, upstream["entering"])

        def measure(work: Work, uids: Sequence[str], missing: frozenset[str]) -> Iterator[Row]:
            images = {row["uid"]: row["image"] for row in kept(store.get(upstream["images"]))}
            source = store.get(upstream["images"])
            todo = [uid for uid in uids if uid in missing]
            for some in batches(todo, batch_size):
                pixels = [read_pixels(source, images[uid]) for uid in some]
                for uid, soft in zip(some, self._model.maps(pixels), strict=True):
                    name = images[uid].replace("images/", "masks/", 1)
                    work.disk.write_bytes(work.file(name), encode(soft, "png"))
                    share = round(float(switched_on(soft).mean()), 6)
                    yield {"uid": uid, "mask": name, "share": share, "files": [name]}

        return run_step(
            store, self.step, rows, measure, _decide, device=lambda: device, progress=progress
        )


def _entering(store: Store, artifact: str) -> list[str]:
    return [row["uid"] for row in kept(store.get(artifact))]


def _decide(rows: Sequence[Row]) -> Verdict:
    empty = {row["uid"]: "nothing salient: the mask is empty" for row in rows if not row["share"]}
    shares = [row["share"] for row in rows]
    return Verdict(
        reasons=empty,
        summary={"share_mean": round(sum(shares) / len(shares), 6) if shares else None},
    )
