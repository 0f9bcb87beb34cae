"""GenEval: does the image hold the objects, counts, colours and positions the prompt names?

Source: djghosh13/geneval@af4902f. Beside this file: `rules`, `prompts`, and the official `folder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    ImageSet,
    MetricSpec,
    Predictions,
    PromptSuite,
    Record,
    UsageError,
)
from evaluators.detections import parse_detections
from evaluators.geneval import folder
from evaluators.geneval.clauses import require_clauses
from evaluators.geneval.consistency import require_possible, say_unlike
from evaluators.geneval.prompts import TASKS
from evaluators.geneval.results import official_rows, results_jsonl
from evaluators.geneval.rules import judge
from evaluators.records import by_image, column, images_per_prompt

DETECTOR = "detector"
_BOUNDS = (0.0, 1.0)


def _fraction(name: str) -> MetricSpec:
    return MetricSpec(name=name, higher_is_better=True, range=_BOUNDS)


class GenEval(Evaluator):
    """GenEval over a suite whose prompts have `include` and perhaps `exclude` in their meta.

    Any class and colour vocabulary, and any subset of the tasks: `overall` is the unweighted mean
    of the tasks the suite has. `images_correct` and `prompts_correct` (any image of the prompt
    correct) are other numbers than `overall` and never to be compared with it.
    """

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="geneval",
        version=1,
        metrics=tuple(
            _fraction(name) for name in ("overall", *TASKS, "images_correct", "prompts_correct")
        ),
        backends=(DETECTOR,),
        upstream="djghosh13/geneval@af4902f24d3ca90ebbb446dd9891a59e0f82725f",
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, correct (0 or 1), reason.

        Raises:
            IncompleteError: an image has no detections record, naming it.
            ValueError: a score or coordinate is NaN or infinite, naming the image.
            UsageError: a prompt's tag is no GenEval task, or it asks for nothing.
        """
        return list(self._score(suite, predictions))

    def _score(
        self, suite: PromptSuite, predictions: Mapping[str, Predictions]
    ) -> Iterator[Record]:
        strange = sorted({prompt.tag for prompt in suite} - set(TASKS))
        if strange:
            raise UsageError(
                f"suite {suite.name} has the tags {', '.join(strange)}, which are no GenEval task. "
                f"Its tasks are {', '.join(TASKS)}."
            )
        for prompt in suite:
            if not prompt.meta.get("include"):
                raise UsageError(
                    f"prompt {prompt.id} {prompt.text!r} has no 'include' clauses in its meta; any "
                    "image would count as correct. Add what must be there."
                )
        images, found = _detections(suite, predictions)
        for prompt in suite:
            colored = {c["class"] for c in prompt.meta["include"] if "color" in c}
            for ordinal in prompt.ordinals(images):
                detections = parse_detections(found[prompt.id, ordinal], colored=colored)
                verdict = judge(detections, prompt.meta, task=prompt.tag)
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": ordinal,
                    "tag": prompt.tag,
                    "correct": int(verdict.correct),
                    "reason": verdict.reason,
                }

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `overall`, the tasks the records hold, `images_correct`, `prompts_correct`.

        Intervals: bootstrap of prompts within tasks.

        Raises:
            ValueError: `correct` is NaN or infinite, naming the record.
        """
        from bench.stats.bootstrap import clustered_mean

        values = column(records, "correct")
        prompts = [record["prompt_id"] for record in records]
        tags = [record["tag"] for record in records]
        estimates = {"overall": clustered_mean(values, prompts, tags, bounds=_BOUNDS)}
        for task in (t for t in TASKS if t in tags):
            rows = [i for i, tag in enumerate(tags) if tag == task]
            estimates[task] = clustered_mean(
                [values[i] for i in rows], [prompts[i] for i in rows], bounds=_BOUNDS
            )
        estimates["images_correct"] = clustered_mean(values, prompts, bounds=_BOUNDS)
        best: dict[str, float] = {}
        for prompt, value in zip(prompts, values, strict=True):
            best[prompt] = max(best.get(prompt, 0.0), value)
        any_correct = clustered_mean(list(best.values()), list(best), bounds=_BOUNDS)
        estimates["prompts_correct"] = replace(any_correct, n=len(values))
        return estimates

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read GenEval's numbered folders; see `folder.read_official`."""
        return folder.read_official(root, suite=suite)

    def complete_prompts(self, images: ImageSet) -> ImageSet:
        """Return the image set as it is; its prompts are looked at (UsageError)."""
        for prompt in images.suite:
            require_clauses(prompt, tasks=TASKS)
            require_possible(prompt)
        say_unlike(images.suite, str(images.root))
        return images

    def write_folder(self, images: ImageSet, root: Path, *, previews: bool = False) -> None:
        """Write GenEval's numbered folders; see `folder.export_layout`."""
        folder.export_layout(images, root, grid=previews)

    def official_results(
        self,
        suite: PromptSuite,
        predictions: Mapping[str, Predictions],
        records: Sequence[Record],
        *,
        root: Path,
    ) -> Mapping[str, str]:
        """Return `results.jsonl`, as the official evaluation writes it."""
        rows = official_rows(suite, predictions, records, root=str(root))
        return {"results.jsonl": results_jsonl(rows)}


def _detections(
    suite: PromptSuite, predictions: Mapping[str, Predictions]
) -> tuple[int, dict[tuple[str, int], Record]]:
    images = images_per_prompt(suite, [predictions[DETECTOR]] if DETECTOR in predictions else [])
    found = by_image(suite, predictions, DETECTOR, evaluator="geneval", images=images)
    return images, found
