"""Step 6: how much better the real image is than its copy, under a scorer of the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.api.errors import BenchError, UsageError
from bench.api.evaluator import Backend
from bench.api.generation import ImageRecord, ImageSet
from bench.api.memory import predict_within_memory
from bench.api.prompts import Prompt, PromptSuite
from bench.api.registry import BACKENDS
from bench.data.curation.engine import Progress, Row, Step, Verdict, kept, run_step
from bench.data.curation.settings import CurationSettings, ScoreSettings
from bench.store import Artifact, Store, Work, plugin_code

NAME = "scores"
VERSION = 1

PICKSCORE_SCALE = 26.0
"""The published code stores PickScore divided by this; 0.02 there is 0.52 raw."""


class Scorer:
    """(image, caption) -> raw score, by a back-end of the registry.

    Args:
        settings: which back-end, and where its score stands in its records.
        device: where it runs.

    Raises:
        UsageError: there is no such back-end.
    """

    def __init__(self, settings: ScoreSettings, device: str | None = None) -> None:
        self._settings = settings
        self.backend: Backend = BACKENDS.load(settings.backend)()
        self.backend.device = device

    def identity(self) -> dict[str, Any]:
        """Return what can change a score.

        Raises:
            PrerequisiteError: the model is not on this machine.
        """
        settings = {"value": self._settings.value, "scale": float(self._settings.scale)}
        code = plugin_code(BACKENDS.entry(self._settings.backend), type(self.backend))
        return {**self.backend.identity(), **code, **settings}

    def scores(
        self, files: Sequence[Path], captions: Sequence[str], *, batch_size: int
    ) -> Iterator[float]:
        """Yield the raw score of each image under its caption, in order.

        Raises:
            UsageError: the back-end's records lack the value.
            BenchError: a score is no finite number.
        """
        keys = [f"{number:07d}" for number in range(len(files))]
        prompts = tuple(Prompt(id=key, text=text) for key, text in zip(keys, captions, strict=True))
        records = tuple(
            ImageRecord(prompt_id=key, ordinal=0, path=str(file), sha256="", seed=0)
            for key, file in zip(keys, files, strict=True)
        )
        images = ImageSet(
            root=Path("/"),
            suite=PromptSuite(name="curation", version="1", prompts=prompts),
            images_per_prompt=1,
            records=records,
        )
        queries = {prompt.id: (prompt.text,) for prompt in prompts}
        for record, _ in predict_within_memory(
            self.backend, images, queries, batch_size=batch_size
        ):
            yield self._read(record)

    def _read(self, record: Mapping[str, Any]) -> float:
        value = record.get(self._settings.value)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(
                f"back-end {self.backend.name!r} gives records with {', '.join(sorted(record))}; "
                f"scores.value is {self._settings.value!r}, expected a key that holds one number."
            )
        if not np.isfinite(value):
            raise BenchError(f"back-end {self.backend.name!r} gives a score of {value}.")
        return float(value) * self._settings.scale


class Scores:
    """The step; see `bench.data.curation.run`.

    Args:
        store: of the run.
        settings: of the run.
        negatives: id of the step that holds the copies, whose images enter.
        source: id of the step that holds the real images.
    """

    def __init__(
        self, store: Store, settings: CurationSettings, *, negatives: str, source: str
    ) -> None:
        self._store = store
        self._settings = settings.scores
        self.scorer = Scorer(settings.scores)
        self.step = Step(
            run=settings.name,
            name=NAME,
            identity={
                "version": VERSION,
                "scorer": self.scorer.identity(),
                "min_gap": settings.scores.min_gap,
            },
            upstream={"negatives": negatives, "images": source},
        )

    def run(self, *, device: str, batch_size: int, progress: Progress | None = None) -> Artifact:
        """Return the artifact: a row with `real`, `negative` and `gap` (raw) per image."""
        store, upstream = self._store, self.step.upstream
        self.scorer.backend.device = device

        def measure(work: Work, uids: Sequence[str], missing: frozenset[str]) -> Iterator[Row]:
            source, other = store.get(upstream["images"]), store.get(upstream["negatives"])
            real = {row["uid"]: row for row in kept(source)}
            made = {row["uid"]: row["negative"] for row in kept(other)}
            todo = [uid for uid in uids if uid in missing]
            files, captions = [], []
            for uid in todo:
                files += [source.file(real[uid]["image"]), other.file(made[uid])]
                captions += [real[uid]["caption"]] * 2
            if not todo:
                return
            found = self.scorer.scores(
                [file.absolute() for file in files], captions, batch_size=batch_size
            )
            for uid, first, second in zip(todo, found, found, strict=True):
                row = {"real": first, "negative": second, "gap": first - second}
                yield {"uid": uid, **{key: round(value, 6) for key, value in row.items()}}

        return run_step(
            store,
            self.step,
            lambda: [row["uid"] for row in kept(store.get(upstream["negatives"]))],
            measure,
            lambda rows: judge_gaps(rows, self._settings.min_gap),
            device=lambda: device,
            progress=progress,
        )


def judge_gaps(rows: Sequence[Row], min_gap: float | None) -> Verdict:
    """Return who is dropped for a negligible degradation; pure.

    Args:
        rows: with `uid` and `gap`.
        min_gap: gaps must be above it; None keeps all.
    """
    gaps = [row["gap"] for row in rows]
    summary: dict[str, Any] = {"min_gap": min_gap}
    if gaps:
        summary["gap_mean"] = round(float(np.mean(gaps)), 6)
        summary["real_wins_share"] = round(float(np.mean([gap > 0 for gap in gaps])), 6)
    if min_gap is None:
        return Verdict(summary=summary)
    reasons = {
        row["uid"]: f"negligible degradation: gap {row['gap']:.3f}, expected above {min_gap:g}"
        for row in rows
        if not row["gap"] > min_gap
    }
    return Verdict(reasons=reasons, summary=summary)
