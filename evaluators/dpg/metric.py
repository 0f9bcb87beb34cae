"""DPG-Bench: the share of a dense prompt's questions that its images answer yes, times 100.

Source: TencentQQGYLab/ELLA@3c228f1:dpg_bench/compute_dpg_bench.py (Hu et al. 2024, §4). Prompt
file in `prompts`, grids in `folder`. The published numbers ask mPLUG-large
(damo/mplug_visual-question-answering_coco_large_en); another model is another metric.

A prompt's `meta` holds `questions`, `parents` and `tuples` by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    ImageSet,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
    UsageError,
    did_you_mean,
)
from evaluators.intervals import jackknifed
from evaluators.question_graph import QuestionGraph, answers_of, dependent_scores, graph_of
from evaluators.records import by_image, finite, images_per_prompt

VQA = "dpg-vqa"
PROFILES = ("faithful", "clean")
CATEGORIES = ("global", "entity", "attribute", "relation", "other")
MISSING_PARENT = "missing-parent"
_BOUNDS = (0.0, 100.0)


def is_yes(answer: str) -> bool:
    """Whether an answer counts as yes: the exact string in lower case."""
    return answer == "yes"


def chained_scores(
    yes: Mapping[int, bool], parents: Mapping[int, Sequence[int]]
) -> dict[int, float]:
    """Return each question's score, zeroed where a parent's score is 0 *by then*.

    Questions are gone through in ascending order and changed in place: a no reaches a grandchild
    where parents have smaller numbers than children, and only there.

    Raises:
        KeyError: a parent that had to be looked at is no question of this prompt.
    """
    scores = {number: float(answer) for number, answer in yes.items()}
    for number, above in parents.items():
        if any(parent != 0 and scores[parent] == 0 for parent in above):
            scores[number] = 0.0
    return scores


def category_of(text: str) -> str:
    """Return the first-level category of a tuple, e.g. "attribute" of "attribute - color (cat)"."""
    return text.split("(")[0].strip().split("-")[0].strip()


@dataclass(frozen=True, kw_only=True)
class DPG(Evaluator):
    """DPG-Bench over any suite of question graphs.

    Attributes:
        profile: "faithful": categories are means over the raw answers of each prompt's *last*
            image, and a prompt whose graph names a parent that is no question is left out, as the
            official script's exception does (its reader loses the first question of the file).
            "clean": categories over all images with the dependencies, which reach through every
            ancestor; an unknown parent is refused.
    """

    profile: str = "faithful"

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="dpg",
        version=1,
        metrics=tuple(
            MetricSpec(name=name, higher_is_better=True, unit="percent", range=_BOUNDS)
            for name in ("score", *CATEGORIES)
        ),
        backends=(VQA,),
        upstream="TencentQQGYLab/ELLA@3c228f1",
    )

    def __post_init__(self) -> None:
        """Refuse an unknown profile (UsageError)."""
        if self.profile not in PROFILES:
            hint = did_you_mean(self.profile, PROFILES)
            raise UsageError(f"unknown DPG-Bench profile {self.profile!r}.{hint}")

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the questions of the prompt, in the order of their numbers.

        Raises:
            UsageError: the prompt's questions and parents do not fit together.
        """
        return self._graph(prompt).texts if role == VQA else ()

    def _graph(self, prompt: Prompt) -> QuestionGraph:
        return graph_of(prompt, orphans=self.profile == "faithful")

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image.

        Fields: prompt_id, ordinal, tag, score (0 to 100, null where left out), `categories`
        (first level: [questions yes, questions]), `flag` ("" or "missing-parent"), profile.

        Raises:
            IncompleteError: an image has no answers, naming it.
            ValueError: as many answers as there were no questions, naming the image.
            UsageError: a prompt's meta lacks questions or the tuple of one.
        """
        return list(self._score(suite, predictions))

    def _score(
        self, suite: PromptSuite, predictions: Mapping[str, Predictions]
    ) -> Iterator[Record]:
        images = images_per_prompt(suite, predictions.values())
        found = by_image(suite, predictions, VQA, evaluator=self.spec.name, images=images)
        for prompt in suite:
            graph = self._graph(prompt)
            answers = [
                answers_of(found[prompt.id, k], graph.numbers, is_yes=is_yes)
                for k in prompt.ordinals(images)
            ]
            try:
                scores = [self._filtered(graph, yes) for yes in answers]
            except KeyError:
                scores = []
            for k, yes in enumerate(answers):
                counted = scores[k] if self.profile == "clean" else {n: float(yes[n]) for n in yes}
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": k,
                    "tag": prompt.tag,
                    "score": 100 * float(np.mean(list(scores[k].values()))) if scores else None,
                    "categories": _categories(prompt, counted) if scores else {},
                    "flag": "" if scores else MISSING_PARENT,
                    "profile": self.profile,
                }

    def _filtered(self, graph: QuestionGraph, yes: Mapping[int, bool]) -> dict[int, float]:
        if self.profile == "clean":
            return dependent_scores(yes, graph.parents, transitive=True)
        return chained_scores(yes, graph.parents)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `score` (mean over prompts of images) and the categories the records hold.

        Intervals: bootstrap of prompts; for categories, jackknife of blocks of prompts.

        Raises:
            ValueError: a score is NaN or infinite, naming the record; or no prompt counts.
        """
        from bench.stats.bootstrap import clustered_mean

        kept = [record for record in records if record["score"] is not None]
        if not kept:
            raise ValueError("no prompt of DPG-Bench counts: each names a parent that is missing")
        by_prompt: dict[str, list[float]] = {}
        for record in kept:
            value = finite(record["score"], record, "score")
            by_prompt.setdefault(record["prompt_id"], []).append(value)
        means = [float(np.mean(values)) for values in by_prompt.values()]
        whole = clustered_mean(means, list(by_prompt), bounds=_BOUNDS)
        estimates = {"score": replace(whole, n=len(kept))}
        last = max(record["ordinal"] for record in kept)
        if self.profile == "faithful":
            kept = [record for record in kept if record["ordinal"] == last]
        for name in CATEGORIES:
            rows = [record for record in kept if name in record["categories"]]
            if rows:
                counts = np.array([r["categories"][name] for r in rows], dtype=np.float64)
                every = np.zeros(len(rows), dtype=bool)
                share = partial(_share, counts)
                estimate = jackknifed(rows, share(every) or 0.0, share, least=_BOUNDS[0])
                if estimate.high is not None:
                    estimate = replace(estimate, high=min(_BOUNDS[1], estimate.high))
                estimates[name] = estimate
        return estimates

    def official_suite(self) -> str:
        """Return DPG-Bench's prompts."""
        return "dpg-bench"

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read DPG-Bench's grids; see `folder.read_official`.

        Raises:
            UsageError: no suite is named.
        """
        if suite is None:
            raise UsageError("the layout names no prompts; add --suite dpg-bench")
        from evaluators.dpg.folder import read_official

        return read_official(root, suite=suite)

    def write_folder(self, images: ImageSet, root: Path, *, previews: bool = False) -> None:
        """Write DPG-Bench's grids; see `folder.export_layout`."""
        from evaluators.dpg.folder import export_layout

        export_layout(images, root)


def _categories(prompt: Prompt, scores: Mapping[int, float]) -> dict[str, list[float]]:
    tuples: Any = prompt.meta.get("tuples", {})
    found: dict[str, list[float]] = {}
    for number, score in scores.items():
        if str(number) not in tuples:
            raise UsageError(
                f"prompt {prompt.id}: question {number} has no entry among the 'tuples' of its "
                "meta, which say its category"
            )
        counts = found.setdefault(category_of(str(tuples[str(number)])), [0.0, 0.0])
        counts[0] += score
        counts[1] += 1.0
    return found


def _share(counts: NDArray[np.float64], block: NDArray[np.bool_]) -> float | None:
    """Return 100 x yes / questions of rows (n, 2) outside a block; None where none is left."""
    yes, asked = counts[~block].sum(axis=0) if (~block).any() else (0.0, 0.0)
    return 100.0 * float(yes / asked) if asked else None
