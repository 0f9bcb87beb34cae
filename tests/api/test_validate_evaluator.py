"""Each way an evaluator can be broken is found, and the message says what to mend."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pytest

from bench.api import (
    Estimate,
    Evaluator,
    EvaluatorSpec,
    MetricSpec,
    Predictions,
    Prompt,
    PromptSuite,
    Record,
)
from bench.validate import EvaluatorSample, Validation, validate

_SUITE = PromptSuite(
    name="few", version="1", prompts=tuple(Prompt(id=f"p{i}", text=f"text {i}") for i in range(4))
)


def sample(evaluator: Evaluator) -> EvaluatorSample:
    """Two images of four prompts, with a score each."""
    keys = [(p.id, k) for p in _SUITE for k in range(2)]
    records = [{"prompt_id": p, "ordinal": k, "score": 0.1 * i} for i, (p, k) in enumerate(keys)]
    arrays = {"score": np.arange(8.0) / 10}
    predictions = {"clip": Predictions(records=records, arrays=arrays)}
    return EvaluatorSample(suite=_SUITE, images_per_prompt=2, predictions=predictions)


class MeanScore(Evaluator):
    spec: ClassVar[EvaluatorSpec] = EvaluatorSpec(
        name="mean-score",
        version=1,
        metrics=(MetricSpec(name="mean", higher_is_better=True, range=(0.0, 1.0)),),
        backends=("clip",),
        upstream="this test",
    )

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        return [dict(record) for record in predictions["clip"].records]

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        values = [float(record["score"]) for record in records]
        if not all(map(math.isfinite, values)):
            raise ValueError("a score is not finite")
        return {"mean": Estimate(value=sum(values) / len(values), n=len(values))}


def checked(cls: type, **members: object) -> Validation:
    """Validate a subclass of `cls` by its dotted path."""
    broken = type("Broken", (cls,), {"__module__": __name__, **members})
    vars(sys.modules[__name__])["Broken"] = broken
    return validate(f"{__name__}:Broken", sample=sample)


def departure(**members: object) -> str:
    """Return the one check that fails."""
    findings = checked(MeanScore, **members).findings
    assert len(findings) == 1, [str(f) for f in findings]
    assert all((findings[0].found, findings[0].expected, findings[0].mend))
    return findings[0].check


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    vars(sys.modules[__name__]).pop("Broken", None)


def spec(**changes: object) -> EvaluatorSpec:
    return EvaluatorSpec(**{**vars(MeanScore.spec), **changes})


def test_a_good_evaluator_passes() -> None:
    outcome = checked(MeanScore)
    assert outcome.ok, [str(f) for f in outcome.findings]
    assert outcome.facts["metrics"] == {"mean": pytest.approx(0.35)}


def test_without_a_sample_the_card_is_checked() -> None:
    def explode(*_: object) -> Iterable[Record]:
        raise AssertionError("not to be run")

    vars(sys.modules[__name__])["Broken"] = type("Broken", (MeanScore,), {"score": explode})
    assert validate(f"{__name__}:Broken").ok


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        (None, "it has a card"),
        ({"name": "Mean Score"}, "it has a name"),
        ({"version": 0}, "it has a version"),
        ({"metrics": ()}, "the card names its metrics"),
        ({"metrics": MeanScore.spec.metrics * 2}, "the card names its metrics"),
        ({"backends": "clip"}, "the card names the roles it needs"),
        ({"upstream": " "}, "the card names its source"),
    ],
)
def test_a_wrong_card(changed: dict[str, object] | None, check: str) -> None:
    assert departure(spec=None if changed is None else spec(**changed)) == check


def test_an_evaluator_with_required_arguments() -> None:
    def init(self: Evaluator, threshold: float) -> None:
        pass

    assert departure(__init__=init) == "building it without arguments runs"


def test_an_abstract_one() -> None:
    class Abstract(Evaluator):
        spec = MeanScore.spec

    assert [f.check for f in checked(Abstract).findings] == ["nothing abstract is left"]


def test_a_question_that_is_a_bare_string() -> None:
    assert departure(queries=lambda self, role, prompt: prompt.text) == "it asks clip of prompt p0"


def test_a_record_too_few() -> None:
    def score(self: Evaluator, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> list:
        return MeanScore.score(self, suite, predictions)[1:]

    assert departure(score=score) == "score() returns one record per image"


def test_records_that_cannot_be_stored() -> None:
    def score(self: Evaluator, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> list:
        return [
            {**record, "score": np.float32(record["score"])}
            for record in predictions["clip"].records
        ]

    assert departure(score=score) == "records are plain data"


def test_a_score_that_changes_its_predictions() -> None:
    def score(self: Evaluator, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> list:
        predictions["clip"].arrays["score"][0] += 1
        return MeanScore.score(self, suite, predictions)

    assert departure(score=score) == "score() is pure"


def test_an_estimate_that_is_random() -> None:
    generator = np.random.default_rng()

    def aggregate(self: Evaluator, records: list, *_: object) -> dict[str, Estimate]:
        low = float(generator.uniform(0, 0.1))
        return {"mean": Estimate(value=0.5, low=low, n=len(records))}

    assert "aggregate() is pure" in [
        f.check for f in checked(MeanScore, aggregate=aggregate).findings
    ]


@pytest.mark.parametrize(
    ("result", "check"),
    [
        ({}, "aggregate() returns the metrics of the card"),
        ({"mean": 0.5}, "aggregate() returns the metrics of the card"),
        ({"median": Estimate(value=0.5, n=8)}, "aggregate() returns the metrics of the card"),
        ({"mean": Estimate(value=1.5, n=8)}, "mean is a finite estimate in its range"),
        ({"mean": Estimate(value=0.5)}, "mean is a finite estimate in its range"),
        (
            {"mean": Estimate(value=0.5, low=math.nan, n=8)},
            "mean is a finite estimate in its range",
        ),
    ],
)
def test_a_wrong_estimate(result: dict[str, object], check: str) -> None:
    assert departure(aggregate=lambda self, *_: result) == check


def test_a_nan_that_is_counted() -> None:
    def aggregate(self: Evaluator, records: list, *_: object) -> dict[str, Estimate]:
        values = [0.0 if math.isnan(r["score"]) else r["score"] for r in records]
        return {"mean": Estimate(value=sum(values) / 16, n=len(values))}

    def score(self: Evaluator, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> list:
        return [{**r, "score": r["score"] + 0.1} for r in predictions["clip"].records]

    assert departure(aggregate=aggregate, score=score) == "a NaN is refused"
