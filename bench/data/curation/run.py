"""A whole curation run: the steps in their order, each an artifact keyed by what it is made of.

Colour comes before the masks and the painting, which cost most: every rule but the mean of the
colours looks at one image alone, so the pairs are those of the published order, which painted
everything first and then intersected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.data.curation.colours import Colours
from bench.data.curation.engine import KIND, Progress, Step
from bench.data.curation.judge import Photos
from bench.data.curation.masks import Saliency
from bench.data.curation.negatives import Negatives
from bench.data.curation.photographs import Photographs
from bench.data.curation.scores import Scores
from bench.data.curation.selection import Selection
from bench.data.curation.settings import CurationSettings
from bench.generation.checkpoint import pick_device
from bench.store import Artifact, Status, Store, artifact_id

SALIENCY_BATCH, SCORE_BATCH, JUDGE_BATCH = 8, 64, 4
_PAINT_PIXELS = 4 * 512 * 512


@dataclass(frozen=True, kw_only=True)
class Curation:
    """The artifacts of a finished run, by step, in order."""

    steps: Mapping[str, Artifact]

    @property
    def selection(self) -> Artifact:
        """The last step."""
        return self.steps["selection"]


class Plan:
    """A run before it runs: all its artifacts are known by id.

    Args:
        store: where they go.
        settings: of the run.

    Raises:
        UsageError: a setting, the source or a name in them is wrong.
        PrerequisiteError: weights or data are not on this machine.
    """

    def __init__(self, store: Store, settings: CurationSettings) -> None:
        self.store = store
        self.settings = settings
        self._photographs = Photographs(store, settings)
        self.steps: dict[str, Step] = {}
        source = self._add(self._photographs.step())
        entering = source
        self._photos: Photos | None = None
        if settings.judge.name is not None:
            self._photos = Photos(store, settings, source=source)
            entering = self._add(self._photos.step)
        self._colours = Colours(store, settings, entering=entering, source=source)
        entering = self._add(self._colours.step)
        self._saliency: Saliency | None = None
        if settings.negatives.kind == "inpaint":
            self._saliency = Saliency(store, settings, entering=entering, source=source)
            entering = self._add(self._saliency.step)
        self._negatives = Negatives(store, settings, entering=entering, source=source)
        negatives = self._add(self._negatives.step)
        self._scores = Scores(store, settings, negatives=negatives, source=source)
        self._add(self._scores.step)
        self._selection = Selection(store, settings, self.ids())
        self._add(self._selection.step)

    def _add(self, step: Step) -> str:
        self.steps[step.name] = step
        return artifact_id(KIND, step.title, step.whole_identity())

    def ids(self) -> dict[str, str]:
        """Return the artifact id of each step."""
        return {
            name: artifact_id(KIND, step.title, step.whole_identity())
            for name, step in self.steps.items()
        }

    def status(self) -> dict[str, Status]:
        """Return what is there of each step; makes nothing."""
        return {
            name: self.store.status(KIND, step.title, step.whole_identity())
            for name, step in self.steps.items()
        }

    def found(self) -> Curation | None:
        """Return the run if it is complete."""
        steps = {
            name: self.store.find(KIND, step.title, step.whole_identity())
            for name, step in self.steps.items()
        }
        whole = {name: artifact for name, artifact in steps.items() if artifact is not None}
        return Curation(steps=whole) if len(whole) == len(steps) else None

    def run(
        self,
        *,
        device: str | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> Curation:
        """Return the run, making what is missing of it.

        Args:
            device: see `pick_device`.
            batch_size: images painted at once; by default decided by their size.
            progress: called after each image of a step.

        Raises:
            PrerequisiteError: weights are not on this machine.
            StoreError: the disk fails.
        """
        done = self.found()
        if done is not None:
            return done
        device = pick_device(device)
        side = self.settings.size
        paint = batch_size or max(1, min(32, _PAINT_PIXELS // (side * side)))
        steps = {"source": self._photographs.run(progress)}
        if self._photos is not None:
            steps["photos"] = self._photos.run(
                device=device, batch_size=JUDGE_BATCH, progress=progress
            )
        steps["colour"] = self._colours.run(progress)
        if self._saliency is not None:
            steps["saliency"] = self._saliency.run(
                device=device, batch_size=SALIENCY_BATCH, progress=progress
            )
        steps["negatives"] = self._negatives.run(device=device, batch_size=paint, progress=progress)
        steps["scores"] = self._scores.run(device=device, batch_size=SCORE_BATCH, progress=progress)
        steps["selection"] = self._selection.run()
        return Curation(steps=steps)
