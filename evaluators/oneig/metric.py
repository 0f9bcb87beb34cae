"""OneIG-Bench: alignment, text rendering, reasoning, style and diversity.

Source: OneIG-Bench/OneIG-Benchmark@41b4983. Beside this file: `rules`, `prompts` and
the official `folder` of grids.

A prompt's `meta` says which dimensions it counts in: `questions` and `parents` by number
(alignment), `text` (text), `answer` (reasoning), `style` (style); every prompt with two images or
more counts in diversity. `language` ("EN" or "ZH") or `max_edit_distance` scales the text score.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    ImageSet,
    IncompleteError,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
    UsageError,
    did_you_mean,
)
from evaluators.oneig import rules
from evaluators.oneig.text import text_estimates
from evaluators.question_graph import answers_of, dependent_scores, graph_of
from evaluators.records import by_image, finite, images_per_prompt

TILES, VQA, OCR = "tiles", "oneig-vqa", "oneig-ocr"
REASONING, STYLE, DIVERSITY = "oneig-reasoning", "oneig-style", "oneig-diversity"
EMBEDDING = "embedding"
"""Name of the diversity back-end's array, (n, d)."""

PROFILES = ("faithful", "clean")
POOLED = "oneig"
"""Tag of every record: means are over prompts of all classes together, not over classes."""
LONG_TEXT_WORDS = 60
SHORT_ANSWER, LONG_ANSWER = "128", "256"
"""Most tokens of a reading; the longer for texts of more than `LONG_TEXT_WORDS` words."""

_META_OF_ROLE = {VQA: "questions", OCR: "text", REASONING: "answer", STYLE: "style"}
_UNIT = (0.0, 1.0)
_MEANS: dict[str, tuple[float, float]] = {
    "alignment": _UNIT,
    "reasoning": (-1.0, 1.0),
    "style": _UNIT,
    "diversity": (0.0, 2.0),
}


def _metric(name: str, low: float, high: float | None, **more: Any) -> MetricSpec:
    return MetricSpec(name=name, **{"higher_is_better": True, **more}, range=(low, high))


@dataclass(frozen=True, kw_only=True)
class OneIG(Evaluator):
    """OneIG-Bench over any part of its prompts; a metric is there where the suite has its prompts.

    There is no overall score. Diversity is higher the less the images of a prompt are alike, so
    weak models score high: to be reported, not ranked by.

    Attributes:
        profile: "faithful" zeroes a question under a direct parent that is not yes, and leaves
            black tiles (exactly 0) out, so that a failure is not punished. "clean" zeroes below
            every ancestor, and counts a black tile, also one from a lossy file, as a failure:
            no alignment, style or reasoning, and no text.
    """

    profile: str = "faithful"

    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="oneig",
        version=1,
        metrics=(
            _metric("alignment", 0.0, 1.0),
            _metric("text", 0.0, 1.0),
            _metric("reasoning", -1.0, 1.0, unit="cosine"),
            _metric("style", 0.0, 1.0, unit="cosine"),
            _metric("diversity", 0.0, 2.0, unit="distance"),
            _metric("edit_distance", 0.0, None, higher_is_better=False, unit="characters"),
            _metric("completion_rate", 0.0, 1.0),
            _metric("word_accuracy", 0.0, 1.0),
        ),
        backends=(TILES, VQA, OCR, REASONING, STYLE, DIVERSITY),
        upstream="OneIG-Bench/OneIG-Benchmark@41b4983",
    )

    def __post_init__(self) -> None:
        """Refuse an unknown profile (UsageError)."""
        if self.profile not in PROFILES:
            hint = did_you_mean(self.profile, PROFILES)
            raise UsageError(f"unknown OneIG profile {self.profile!r}.{hint}")

    def wants(self, role: str, prompt: Prompt) -> bool:
        """Whether the prompt counts in the dimension that back-end `role` serves."""
        key = _META_OF_ROLE.get(role)
        return key is None or bool(prompt.meta.get(key))

    def queries(self, role: str, prompt: Prompt) -> Sequence[str]:
        """Return questions, the answer, the style, or most tokens of a reading.

        Raises:
            UsageError: the prompt's questions and parents do not fit together.
        """
        if not self.wants(role, prompt):
            return ()
        if role == VQA:
            return graph_of(prompt).texts
        if role == OCR:
            words = len(str(prompt.meta["text"]).split())
            return (LONG_ANSWER if words > LONG_TEXT_WORDS else SHORT_ANSWER,)
        if role in (REASONING, STYLE):
            return (str(prompt.meta[_META_OF_ROLE[role]]),)
        return ()

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image.

        Fields: prompt_id, ordinal, tag (the same for all), class, black, profile; and, null where
        the prompt does not count in it or a faithful score leaves the black tile out:
        `alignment`, `reasoning`, `style`, `diversity` (mean distance to the prompt's other
        images), `edits`, `matched`, `wanted`, `edit_limit`.

        Raises:
            IncompleteError: an image lacks a prediction, naming it.
            ValueError: a NaN, or as many answers as there were no questions, naming the image.
            UsageError: a prompt's meta is not what its dimensions need.
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
            if any(self.wants(role, prompt) for prompt in suite)
        }
        place = {
            (r["prompt_id"], r["ordinal"]): i for i, r in enumerate(predictions[DIVERSITY].records)
        }
        for prompt in suite:
            ordinals = prompt.ordinals(images)
            keys = [(prompt.id, k) for k in ordinals]
            black = [self._black(found[TILES][key]) for key in keys]
            shown = [k for k in ordinals if not (black[k] and self.profile == "faithful")]
            spread = _spread(predictions[DIVERSITY], [place[keys[k]] for k in shown], keys, shown)
            for k, key in enumerate(keys):
                answers = {role: rows[key] for role, rows in found.items() if key in rows}
                yield {
                    "prompt_id": prompt.id,
                    "ordinal": k,
                    "tag": POOLED,
                    "class": prompt.tag,
                    "black": black[k],
                    "profile": self.profile,
                    **self._dimensions(prompt, answers, black=black[k]),
                    "diversity": spread.get(k),
                }

    def _black(self, record: Record) -> bool:
        largest = int(finite(record.get("largest"), record, "largest"))
        return rules.is_black(largest, lossless=self.profile == "faithful")

    def _dimensions(
        self, prompt: Prompt, answers: Mapping[str, Record], *, black: bool
    ) -> dict[str, Any]:
        names = ("alignment", "reasoning", "style", "edits", "matched", "wanted", "edit_limit")
        values: dict[str, Any] = dict.fromkeys(names)
        if black and self.profile == "faithful":
            return values
        if VQA in answers:
            graph = graph_of(prompt)
            yes = answers_of(answers[VQA], graph.numbers, is_yes=rules.is_yes)
            scores = dependent_scores(yes, graph.parents, transitive=self.profile == "clean")
            values["alignment"] = 0.0 if black else float(np.mean(list(scores.values())))
        if REASONING in answers:
            (cosine,) = _cosines(answers[REASONING], answers[REASONING].get("cosine"), 1)
            values["reasoning"] = 0.0 if black else cosine
        if STYLE in answers:
            values["style"] = 0.0 if black else _style(answers[STYLE])
        if OCR in answers:
            read = "" if black else _read(answers[OCR])
            compared = rules.compare_text(str(prompt.meta["text"]), read)
            values |= {
                "edits": compared.edits,
                "matched": compared.matched,
                "wanted": compared.wanted,
                "edit_limit": _edit_limit(prompt),
            }
        return values

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return the metrics the records hold values of.

        Alignment, reasoning, style and diversity are means over prompts of the mean over images,
        with the bootstrap of prompts; the four text metrics are of all images together, with the
        jackknife of blocks of prompts.

        Raises:
            ValueError: a value is NaN or infinite, naming the record.
            UsageError: text records of different `edit_limit`.
        """
        from bench.stats.bootstrap import clustered_mean

        estimates: dict[str, Estimate] = {}
        for name, bounds in _MEANS.items():
            if name == "reasoning":
                estimates |= text_estimates([r for r in records if r.get("edits") is not None])
            by_prompt: dict[str, list[float]] = {}
            for record in records:
                if record.get(name) is not None:
                    value = finite(record[name], record, name)
                    by_prompt.setdefault(record["prompt_id"], []).append(value)
            if by_prompt:
                means = [float(np.mean(values)) for values in by_prompt.values()]
                estimate = clustered_mean(means, list(by_prompt), bounds=bounds)
                estimates[name] = replace(estimate, n=sum(map(len, by_prompt.values())))
        return estimates

    def official_suite(self) -> str:
        """Return OneIG-Bench's English prompts."""
        return "oneig-en"

    def read_folder(self, root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
        """Read OneIG's grids; see `folder.read_official`.

        Raises:
            UsageError: no suite is named.
        """
        if suite is None:
            raise UsageError("the layout names no prompts; add --suite oneig-en")
        from evaluators.oneig.folder import read_official

        return read_official(root, suite=suite)

    def write_folder(self, images: ImageSet, root: Path, *, previews: bool = False) -> None:
        """Write OneIG's grids; see `folder.export_layout`."""
        from evaluators.oneig.folder import MODEL, export_layout

        export_layout(images, root, model=MODEL)


def _spread(
    predictions: Predictions,
    rows: Sequence[int],
    keys: Sequence[tuple[str, int]],
    shown: Sequence[int],
) -> dict[int, float]:
    """Return, by ordinal, the mean distance to the other images; nothing for a single image."""
    if EMBEDDING not in predictions.arrays:
        raise IncompleteError(
            f"the diversity predictions hold no array {EMBEDDING!r}; run a back-end that writes it"
        )
    if len(rows) < 2:
        return {}
    vectors = predictions.arrays[EMBEDDING][list(rows)]
    for ordinal, vector in zip(shown, vectors, strict=True):
        if not np.isfinite(vector).all():
            raise ValueError(
                f"image {keys[ordinal][0]}/{ordinal}: its embedding is NaN or infinite"
            )
    table = rules.distances(vectors)
    np.fill_diagonal(table, 0.0)
    means = table.sum(axis=1) / (len(rows) - 1)
    return dict(zip(shown, means.tolist(), strict=True))


def _cosines(record: Record, values: Any, count: int | None) -> list[float]:
    name = f"image {record['prompt_id']}/{record['ordinal']}"
    if not isinstance(values, Sequence) or not values or count not in (None, len(values)):
        raise ValueError(f"{name}: cosines are {values!r}, expected a list of {count or 'some'}")
    numbers = [finite(value, record, "cosine") for value in values]
    slack = 1e-2  # half precision
    if any(abs(number) > 1 + slack for number in numbers):
        raise ValueError(f"{name}: cosines are {numbers}, expected numbers of -1 to 1")
    return numbers


def _style(record: Record) -> float:
    by_encoder = record.get("cosines")
    if not isinstance(by_encoder, Mapping) or not by_encoder:
        raise ValueError(
            f"image {record['prompt_id']}/{record['ordinal']}: 'cosines' is {by_encoder!r}, "
            "expected a list of cosines by encoder"
        )
    found = {name: _cosines(record, values, None) for name, values in by_encoder.items()}
    return min(1.0, rules.style_score(found))


def _read(record: Record) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        raise ValueError(
            f"image {record['prompt_id']}/{record['ordinal']}: 'text' is {text!r}, expected a text"
        )
    return text


def _edit_limit(prompt: Prompt) -> int:
    if "max_edit_distance" in prompt.meta:
        return int(prompt.meta["max_edit_distance"])
    language = prompt.meta.get("language", "EN")
    if language not in rules.MAX_EDIT_DISTANCE:
        hint = did_you_mean(str(language), rules.MAX_EDIT_DISTANCE)
        raise UsageError(f"prompt {prompt.id} has the unknown language {language!r}.{hint}")
    return rules.MAX_EDIT_DISTANCE[language]
