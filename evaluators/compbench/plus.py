"""T2I-CompBench++: the six categories of T2I-CompBench, with 3D spatial relations and numeracy.

Source: Karine-Huang/T2I-CompBench@1b70949. Rules in `depth` and `numeracy`;
the six are scored by `compbench`. The headline stays the mean of the six, which is what papers
call T2I-CompBench; `overall_plus` is that of all eight.

A prompt's `meta` holds `objects` (two nouns) for "3d_spatial" and `counts` ([noun, number], ...)
for "numeracy"; both are looked for by the substring rule, among the R50 detector's labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from bench.api import (
    Estimate,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
    UsageError,
)
from evaluators.compbench import rules
from evaluators.compbench.depth import depth_score, find_depth_relation, find_pair
from evaluators.compbench.metric import CompBench
from evaluators.compbench.numeracy import Count, numeracy_score
from evaluators.detections import Detection, parse_detections
from evaluators.records import by_image, column, finite, images_per_prompt

DETECTOR_R50, DEPTH = "detector_r50", "depth"
"""Roles of the two more categories; the 2D relations have a larger detector, `detector`."""
DEPTH_CATEGORY, NUMERACY = "3d_spatial", "numeracy"
MORE = (DEPTH_CATEGORY, NUMERACY)
_PROBABILITY = (0.0, 1.0)


def _metric(name: str) -> MetricSpec:
    return MetricSpec(name=name, higher_is_better=True, unit="fraction", range=_PROBABILITY)


@dataclass(frozen=True, kw_only=True)
class CompBenchPlus(CompBench):
    """T2I-CompBench++ over a suite of any of its eight categories.

    Attributes:
        profile: "faithful" also keeps what the official code does to depth maps (read transposed),
            to the second object met and to two nouns of one label; "clean" does not.
    """

    spec: ClassVar[EvaluatorSpec] = replace(
        CompBench.spec,
        name="t2i-compbench-plus",
        version=1,
        metrics=(
            *CompBench.spec.metrics,
            *(_metric(name) for name in MORE),
            replace(CompBench.spec.metrics[0], name="overall_plus"),
        ),
        backends=(*CompBench.spec.backends, DETECTOR_R50, DEPTH),
    )

    def wants(self, role: str, prompt: Prompt) -> bool:
        """Whether the score of `prompt` depends on back-end `role`.

        Raises:
            UsageError: the prompt's category or kind is unknown.
        """
        if category := _own_category(prompt):
            return role == DETECTOR_R50 or (role == DEPTH and category == DEPTH_CATEGORY)
        return role in CompBench.spec.backends and super().wants(role, prompt)

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return as `CompBench.queries`; the two roles of its own ask nothing.

        Raises:
            UsageError: an attribute prompt's meta has no `phrases` entry.
        """
        if _own_category(prompt) or role not in CompBench.spec.backends:
            return ()
        return super().queries(role, prompt)

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image, with the fields of `CompBench.score`, in suite order.

        Raises:
            IncompleteError: an image lacks a prediction of a back-end, naming it.
            ValueError: a NaN, or a depth map of another size than the detector saw.
            UsageError: a prompt's meta lacks what its category needs.
        """
        own = [prompt for prompt in suite if _own_category(prompt)]
        others = tuple(prompt for prompt in suite if not _own_category(prompt))
        records: list[Record] = []
        if others:
            records += super().score(replace(suite, prompts=others), predictions)
        if own:
            records += self._score_more(replace(suite, prompts=tuple(own)), predictions)
        place = {prompt.id: index for index, prompt in enumerate(suite)}
        return sorted(records, key=lambda r: (place[r["prompt_id"]], r["ordinal"]))

    def _score_more(
        self, suite: PromptSuite, predictions: Mapping[str, Predictions]
    ) -> Iterator[Record]:
        images = images_per_prompt(suite, predictions.values())
        found = {
            role: by_image(
                suite,
                predictions,
                role,
                evaluator=self.spec.name,
                images=images,
                wanted=partial(self.wants, role),
            )
            for role in (DETECTOR_R50, DEPTH)
        }
        maps = _depth_maps(predictions.get(DEPTH))
        for prompt in suite:
            for ordinal in prompt.ordinals(images):
                key = (prompt.id, ordinal)
                record = found[DETECTOR_R50][key]
                seen = _detections(record)
                if _own_category(prompt) == NUMERACY:
                    score = numeracy_score(seen, _counts(prompt), faithful=self._faithful)
                else:
                    score = self._depth_relation(prompt, record, seen, maps.get(key))
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": ordinal,
                    "tag": prompt.tag,
                    "category": _own_category(prompt),
                    "score": score,
                    "attribute": None,
                    "spatial": score,
                    "action": None,
                    "flag": "",
                    "profile": self.profile,
                }

    @property
    def _faithful(self) -> bool:
        return self.profile == "faithful"

    def _depth_relation(
        self, prompt: Prompt, record: Record, seen: Sequence[Detection], depth: Any
    ) -> float:
        width, height = rules.detector_size(int(record["width"]), int(record["height"]))
        if depth is None:
            raise ValueError(f"image {prompt.id}/{record['ordinal']}: no array 'depth' was stored")
        if depth.shape != (height, width):
            raise ValueError(
                f"image {prompt.id}/{record['ordinal']}: the depth map is {depth.shape[1]} x "
                f"{depth.shape[0]} pixels, the detector saw {width} x {height}"
            )
        first, second = find_pair(seen, *_nouns(prompt), faithful=self._faithful)
        relation = find_depth_relation(prompt.text)
        return depth_score(relation, depth, first, second, faithful=self._faithful)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `overall` of the six categories, each category there is, and `overall_plus`.

        Where none of the six is there, neither is `overall`.

        Raises:
            ValueError: a score is NaN or infinite, naming the record.
        """
        from bench.stats.bootstrap import clustered_mean

        six = [record for record in records if record["category"] not in MORE]
        estimates = super().aggregate(six, predictions, reference) if six else {}
        for name in MORE:
            rows = [record for record in records if record["category"] == name]
            if rows:
                estimates[name] = clustered_mean(
                    column(rows, "score"), [r["prompt_id"] for r in rows], bounds=_PROBABILITY
                )
        estimates["overall_plus"] = clustered_mean(
            column(records, "score"),
            [record["prompt_id"] for record in records],
            [record["category"] for record in records],
            bounds=(-1.0, 1.0),
        )
        return estimates


def _own_category(prompt: Prompt) -> str | None:
    """Return the prompt's category if it is one of the two that `CompBench` does not know."""
    category = prompt.meta.get("category", prompt.tag)
    return category if category in MORE else None


def _meta(prompt: Prompt, key: str) -> Any:
    if key not in prompt.meta:
        raise UsageError(
            f"prompt {prompt.id} {prompt.text!r} is of category {_own_category(prompt)}, which "
            f"needs {key!r} in its meta (evaluators.compbench_prompts.read_official puts it there)"
        )
    return prompt.meta[key]


def _nouns(prompt: Prompt) -> tuple[str, str]:
    nouns = _meta(prompt, "objects")
    if len(nouns) != 2 or not all(isinstance(noun, str) and noun for noun in nouns):
        raise UsageError(f"prompt {prompt.id} has the objects {nouns!r}, expected two nouns")
    first, second = ("person" if noun in rules.PERSONS else str(noun) for noun in nouns)
    return first, second


def _counts(prompt: Prompt) -> list[Count]:
    counts = [(str(noun), int(number)) for noun, number in _meta(prompt, "counts")]
    if not counts:
        raise UsageError(f"prompt {prompt.id} {prompt.text!r} asks for nothing: empty 'counts'")
    return counts


def _detections(record: Record) -> list[Detection]:
    """Return an image's detections above the threshold, in the detector's pixels and order."""
    width, height = (int(finite(record.get(side), record, side)) for side in ("width", "height"))
    if min(width, height) < 1:
        name = f"{record['prompt_id']}/{record['ordinal']}"
        raise ValueError(f"image {name} is {width} x {height} pixels")
    return [
        replace(d, box=rules.to_detector_pixels(d.box, width, height))
        for d in sorted(parse_detections(record), key=lambda d: -d.score)
        if np.float32(d.score) > np.float32(rules.DETECTOR_THRESHOLD)
    ]


def _depth_maps(predictions: Predictions | None) -> dict[tuple[str, int], Any]:
    if predictions is None or "depth" not in predictions.arrays:
        return {}
    maps = predictions.arrays["depth"]
    return {
        (record["prompt_id"], record["ordinal"]): maps[row]
        for row, record in enumerate(predictions.records)
    }
