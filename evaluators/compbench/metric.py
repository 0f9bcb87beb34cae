"""T2I-CompBench: attributes by questions, spatial relations by detection, the rest by CLIP.

Source: Karine-Huang/T2I-CompBench@1b70949. Beside this file: `rules`, `prompts`, the official
`folder` and `results`; `plus` is T2I-CompBench++.

A prompt's `meta` holds `category`, and by category: `phrases` (noun phrases to ask about),
`objects` (two detector classes, each a name, null, or {"class": name, "color": name}), `relation`
(found in the text where it is absent), `complex_kind`, and perhaps `clip_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

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
from evaluators.compbench import rules
from evaluators.compbench.rules import ATTRIBUTES, CATEGORIES, COMPLEX_KINDS
from evaluators.detections import Detection, parse_detections
from evaluators.records import by_image, column, finite, images_per_prompt

DETECTOR, VQA, CLIP = "detector", "vqa", "clip"
PROFILES = ("faithful", "clean")
NO_PHRASES = "no-phrases"

_PROBABILITY = (0.0, 1.0)
_COSINE = (-1.0, 1.0)
_RANGES: dict[str, tuple[float, float]] = {
    "overall": _COSINE,
    **dict.fromkeys(CATEGORIES, _PROBABILITY),
    "non_spatial": _COSINE,
    "complex": _COSINE,
}
_RELATION_NAMES = {
    **{locality: locality for locality in rules.LOCALITIES},
    "left of": rules.LEFT_OF,
    "right of": rules.RIGHT_OF,
    "above": rules.TOP_OF,
    "below": rules.BOTTOM_OF,
}


@dataclass(frozen=True, kw_only=True)
class CompBench(Evaluator):
    """T2I-CompBench over a suite whose prompts carry what the module's docstring lists.

    `overall` is the unweighted mean of the categories the suite has (six in the official one).
    It mixes probabilities with CLIP cosines, by the protocol.

    Attributes:
        profile: "faithful" keeps the official code's quirks: a prompt without noun phrases gets
            the full mark 1.0 (flagged `no-phrases` in its records), and "on top of" has no rule
            and scores 0. "clean" refuses the first and treats the second as "on the top of".
    """

    profile: str = "faithful"

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="t2i-compbench",
        version=1,
        metrics=tuple(
            MetricSpec(
                name=name,
                higher_is_better=True,
                unit="cosine" if name == "non_spatial" else "fraction",
                range=bounds,
            )
            for name, bounds in _RANGES.items()
        ),
        backends=(DETECTOR, VQA, CLIP),
        upstream="Karine-Huang/T2I-CompBench@1b7094991a57f3c22abdd4f6e8ba6c1a15517073",
    )

    def __post_init__(self) -> None:
        """Refuse an unknown profile (UsageError)."""
        if self.profile not in PROFILES:
            raise UsageError(
                f"unknown T2I-CompBench profile {self.profile!r}."
                f"{did_you_mean(self.profile, PROFILES)}"
            )

    def wants(self, role: str, prompt: Prompt) -> bool:
        """Whether the score of `prompt` depends on back-end `role`.

        Raises:
            UsageError: the prompt's category or kind is unknown.
        """
        parts = _parts(prompt)
        if role == VQA and VQA in parts:
            return bool(self.queries(VQA, prompt))
        return role in parts

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return the questions for "vqa", the caption for "clip", nothing for the detector.

        Raises:
            UsageError: an attribute prompt's meta has no `phrases` entry.
        """
        if role not in _parts(prompt):
            return ()
        if role == VQA:
            return rules.questions(_required(prompt, "phrases"))
        if role == CLIP:
            return (prompt.meta.get("clip_text", prompt.text),)
        return ()

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image.

        Fields: prompt_id, ordinal, tag, category, score; its parts `attribute`, `spatial` and
        `action` (None where the category has no such part); `flag` ("" or "no-phrases"); profile.

        Raises:
            IncompleteError: an image lacks a prediction of a back-end, naming it.
            ValueError: a NaN, or as many answers as there were no questions, naming the image.
            UsageError: a prompt's meta lacks what its category needs.
        """
        return list(self._score(suite, predictions))

    def _score(
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
            for role in self.spec.backends
        }
        for prompt in suite:
            for ordinal in prompt.ordinals(images):
                answers = {
                    role: records[prompt.id, ordinal]
                    for role, records in found.items()
                    if (prompt.id, ordinal) in records
                }
                parts = self._score_parts(prompt, answers)
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": ordinal,
                    "tag": prompt.tag,
                    "category": _category(prompt),
                    "score": _combine(prompt, parts),
                    "attribute": parts.get(VQA),
                    "spatial": parts.get(DETECTOR),
                    "action": parts.get(CLIP),
                    "flag": NO_PHRASES if VQA in parts and VQA not in answers else "",
                    "profile": self.profile,
                }

    def _score_parts(self, prompt: Prompt, answers: Mapping[str, Record]) -> dict[str, float]:
        parts: dict[str, float] = {}
        for role in _parts(prompt):
            if role == VQA:
                parts[VQA] = self._attribute(prompt, answers.get(VQA))
            elif role == CLIP:
                (parts[CLIP],) = _numbers(answers[CLIP], "cosine", 1, _COSINE)
            else:
                parts[DETECTOR] = self._spatial(prompt, answers[DETECTOR])
        return parts

    def _attribute(self, prompt: Prompt, record: Record | None) -> float:
        if record is not None:
            asked = len(self.queries(VQA, prompt))
            return rules.attribute_score(_numbers(record, "yes", asked, _PROBABILITY))
        if self.profile == "faithful":
            return 1.0
        raise UsageError(
            f"prompt {prompt.id} {prompt.text!r} has no noun phrase to ask about; the official "
            "code gives it the full mark. Add phrases to its meta, or use profile 'faithful'."
        )

    def _spatial(self, prompt: Prompt, record: Record) -> float:
        locality = _locality(prompt)
        if self.profile == "clean" and locality == rules.ON_TOP_OF:
            locality = rules.TOP_OF
        width = finite(record.get("width"), record, "width")
        height = finite(record.get("height"), record, "height")
        if min(width, height) < 1:
            raise ValueError(
                f"image {prompt.id}/{record['ordinal']} is {width:g} x {height:g} pixels"
            )
        seen = [
            Detection(
                label=d.label,
                score=d.score,
                box=rules.to_detector_pixels(d.box, int(width), int(height)),
                color=d.color,
            )
            for d in parse_detections(record, colored=_colored(prompt))
        ]
        first, second = (rules.best_detection(seen, *wanted) for wanted in _objects(prompt))
        return rules.spatial_score(locality, first, second)

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `overall` and each category the records hold.

        Intervals: bootstrap of prompts within categories.

        Raises:
            ValueError: a score is NaN or infinite, naming the record.
        """
        from bench.stats.bootstrap import clustered_mean

        values = column(records, "score")
        prompts = [record["prompt_id"] for record in records]
        categories = [record["category"] for record in records]
        bounds = _RANGES["overall"]
        estimates = {"overall": clustered_mean(values, prompts, categories, bounds=bounds)}
        for category in (c for c in CATEGORIES if c in categories):
            rows = [i for i, found in enumerate(categories) if found == category]
            estimates[category] = clustered_mean(
                [values[i] for i in rows], [prompts[i] for i in rows], bounds=_RANGES[category]
            )
        return estimates

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read T2I-CompBench's folders; see `annotation.read_official`."""
        from evaluators.compbench.annotation import read_official

        return read_official(root, suite=suite)

    def complete_prompts(self, images: ImageSet) -> ImageSet:
        """Add noun phrases, objects and kinds where they lack; see `annotation.annotated`."""
        from evaluators.compbench.annotation import annotated

        return annotated(images)

    def write_folder(self, images: ImageSet, root: Path, *, previews: bool = False) -> None:
        """Write T2I-CompBench's folders; see `folder.export_layout`."""
        from evaluators.compbench.folder import export_layout

        export_layout(images, root)

    def official_results(
        self,
        suite: PromptSuite,
        predictions: Mapping[str, Predictions],
        records: Sequence[Record],
        *,
        root: Path,
    ) -> Mapping[str, str]:
        """Return the result files of each category; see `results.official_files`."""
        from evaluators.compbench.results import official_files

        return official_files(suite, records)


def _category(prompt: Prompt) -> str:
    category = prompt.meta.get("category", prompt.tag)
    if category not in CATEGORIES:
        raise UsageError(
            f"prompt {prompt.id} has the category {category!r}, which is none of "
            f"T2I-CompBench's.{did_you_mean(str(category), CATEGORIES)}"
        )
    return str(category)


def _parts(prompt: Prompt) -> tuple[str, ...]:
    """Return the back-ends whose answers make the prompt's score."""
    category = _category(prompt)
    if category in ATTRIBUTES:
        return (VQA,)
    if category == "spatial":
        return (DETECTOR,)
    if category == "non_spatial":
        return (CLIP,)
    kind = _required(prompt, "complex_kind")
    if kind not in COMPLEX_KINDS:
        raise UsageError(
            f"prompt {prompt.id} has the complex_kind {kind!r}, expected one of "
            f"{', '.join(COMPLEX_KINDS)}."
        )
    return {"spatial": (VQA, DETECTOR), "action": (VQA, CLIP)}.get(kind, (VQA, DETECTOR, CLIP))


def _combine(prompt: Prompt, parts: Mapping[str, float]) -> float:
    if _category(prompt) != "complex":
        (score,) = parts.values()
        return score
    return rules.complex_score(
        prompt.meta["complex_kind"],
        attribute=parts[VQA],
        spatial=parts.get(DETECTOR, 0.0),
        action=parts.get(CLIP, 0.0),
    )


def _required(prompt: Prompt, key: str) -> Any:
    if key not in prompt.meta:
        raise UsageError(
            f"prompt {prompt.id} {prompt.text!r} is of category {_category(prompt)}, which needs "
            f"{key!r} in its meta; read the prompts with an annotations file that holds it "
            "(evaluators.compbench_prompts.read_official)"
        )
    return prompt.meta[key]


def _locality(prompt: Prompt) -> str | None:
    relation = prompt.meta.get("relation")
    if relation is None:
        return rules.find_locality(prompt.text)
    if relation not in _RELATION_NAMES:
        raise UsageError(
            f"prompt {prompt.id} has the unknown relation {relation!r}."
            f"{did_you_mean(str(relation), _RELATION_NAMES)}"
        )
    return _RELATION_NAMES[relation]


def _objects(prompt: Prompt) -> list[tuple[str | None, str | None]]:
    """Return (class, colour or None) of the two objects; class None where none was parsed."""
    wanted: list[tuple[str | None, str | None]] = []
    for entry in _required(prompt, "objects"):
        label, color = (
            (entry["class"], entry.get("color")) if isinstance(entry, Mapping) else (entry, None)
        )
        wanted.append(("person" if label in rules.PERSONS else label, color))
    if len(wanted) != 2:
        raise UsageError(f"prompt {prompt.id} names {len(wanted)} objects in its meta, expected 2")
    return wanted


def _colored(prompt: Prompt) -> set[str]:
    return {label for label, color in _objects(prompt) if label is not None and color is not None}


def _numbers(record: Record, key: str, count: int, bounds: tuple[float, float]) -> list[float]:
    """Return the `count` numbers of a record's list (ValueError naming the image otherwise)."""
    name = f"image {record['prompt_id']}/{record['ordinal']}"
    values = record.get(key)
    if not isinstance(values, Sequence) or len(values) != count:
        raise ValueError(f"{name}: {key!r} is {values!r}, expected a list of {count} numbers")
    numbers = [finite(value, record, f"{key}[{i}]") for i, value in enumerate(values)]
    slack = 1e-3  # a cosine in half precision
    if any(not bounds[0] - slack <= number <= bounds[1] + slack for number in numbers):
        raise ValueError(f"{name}: {key!r} is {numbers}, expected numbers in {bounds}")
    return numbers
