"""The checks of an evaluator: its card, its questions, its scores and its aggregate."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.api.estimate import Estimate
from bench.api.evaluator import Evaluator, EvaluatorSpec, MetricSpec, Predictions, Record
from bench.validate.checks import (
    Checks,
    check_built,
    check_concrete,
    check_name_and_version,
    check_plain,
)

if TYPE_CHECKING:
    from bench.validate.sample import EvaluatorSample

_PURE = "do not change arguments in place, and seed every resampling from the data"


def check_evaluator(
    cls: type[Evaluator],
    checks: Checks,
    sample: Callable[[Evaluator], EvaluatorSample] | None,
) -> None:
    """Check `cls` and note the outcome; fact `metrics`: what it measured on the sample."""
    concrete = check_concrete(cls, checks)
    if not _card(cls, checks) or not concrete:
        return
    evaluator = check_built(cls, checks)
    if evaluator is None or sample is None:
        return
    given = sample(evaluator)
    _questions(evaluator, given, checks)
    records = _score(evaluator, given, checks)
    if records is None or not checks.clean:
        return
    _aggregate(evaluator, records, given, checks)


def _card(cls: type[Evaluator], checks: Checks) -> bool:
    spec = getattr(cls, "spec", None)
    if not checks.require(
        isinstance(spec, EvaluatorSpec),
        "it has a card",
        found=f"spec = {spec!r}",
        expected="a bench.api.EvaluatorSpec",
        mend="set the class attribute `spec = EvaluatorSpec(name=..., version=1, ...)`",
    ):
        return False
    assert isinstance(spec, EvaluatorSpec)
    check_name_and_version(spec.name, spec.version, checks, "in the card")
    metrics = spec.metrics
    ok = checks.require(
        isinstance(metrics, tuple)
        and len(metrics) > 0
        and all(isinstance(metric, MetricSpec) for metric in metrics)
        and len({metric.name for metric in metrics}) == len(metrics),
        "the card names its metrics",
        found=repr(metrics),
        expected="a tuple of MetricSpec with unlike names, the headline first",
        mend="list what aggregate() returns in `spec.metrics`",
    )
    ok &= checks.require(
        isinstance(spec.backends, tuple) and all(isinstance(r, str) for r in spec.backends),
        "the card names the roles it needs",
        found=repr(spec.backends),
        expected='a tuple of strings, such as ("detector",)',
        mend="set `spec.backends`; a tuple of one needs its comma",
    )
    checks.require(
        isinstance(spec.upstream, str) and spec.upstream.strip() != "",
        "the card names its source",
        found=repr(spec.upstream),
        expected="repository@commit of the protocol, or the paper",
        mend="set `spec.upstream`",
    )
    return ok


def _questions(evaluator: Evaluator, given: EvaluatorSample, checks: Checks) -> None:
    for role in evaluator.spec.backends:
        for prompt in given.suite:
            texts = checks.attempt(
                f"queries({role!r}, prompt)",
                lambda role=role, prompt=prompt: evaluator.queries(role, prompt),  # type: ignore[misc]
                mend="return the texts to ask about images of the prompt, () for none",
            )
            asked = isinstance(texts, Sequence) and not isinstance(texts, str)
            wanted = evaluator.wants(role, prompt)
            if texts is None or not checks.require(
                asked and all(isinstance(t, str) for t in texts) and isinstance(wanted, bool),
                f"it asks {role} of prompt {prompt.id}",
                found=f"queries {texts!r}, wants {wanted!r}",
                expected="a sequence of strings, and True or False",
                mend="return a list or tuple of strings from queries(), a bool from wants()",
            ):
                return


def _score(evaluator: Evaluator, given: EvaluatorSample, checks: Checks) -> list[Record] | None:
    before = _snapshot(given.predictions)
    mend = "score() gets the suite and predictions by role, and returns one record per image"
    records = checks.attempt(
        "score()", lambda: list(evaluator.score(given.suite, given.predictions)), mend=mend
    )
    if records is None:
        return None
    wanted = [(p.id, k) for p, k in given.suite.images(given.images_per_prompt)]
    try:
        keys = [(record["prompt_id"], record["ordinal"]) for record in records]
    except (KeyError, TypeError) as error:
        keys = [("?", -1)]
        found = f"a record without prompt_id or ordinal: {error!r}"
    else:
        found = f"{len(keys)} records, {len(set(keys))} of them for unlike images"
    checks.require(
        sorted(keys) == sorted(wanted),
        "score() returns one record per image",
        found=found,
        expected=f"{len(wanted)} records, each with the prompt_id and ordinal of another image",
        mend=mend,
    )
    check_plain(records, checks, "records are plain data")
    again = list(evaluator.score(given.suite, given.predictions))
    checks.require(
        again == records and _snapshot(given.predictions) == before,
        "score() is pure",
        found="unlike records on a second call, or changed predictions",
        expected="the same records from the same predictions",
        mend=_PURE,
    )
    return records


def _aggregate(
    evaluator: Evaluator, records: list[Record], given: EvaluatorSample, checks: Checks
) -> None:
    def aggregate(
        rows: Sequence[Record], predictions: Mapping[str, Predictions]
    ) -> dict[str, Estimate]:
        return evaluator.aggregate(rows, predictions, given.reference)

    before = (copy.deepcopy(records), _snapshot(given.predictions))
    result = checks.attempt(
        "aggregate()",
        lambda: aggregate(records, given.predictions),
        mend="aggregate() gets the records score() made, the predictions and, where "
        "spec.needs_reference, the reference's predictions",
    )
    if result is None or not _estimates(evaluator.spec, result, checks):
        return
    checks.facts["metrics"] = {name: estimate.value for name, estimate in result.items()}
    same = aggregate(records, given.predictions) == result
    checks.require(
        same and before == (records, _snapshot(given.predictions)),
        "aggregate() is pure",
        found="unlike estimates on a second call, or changed records or predictions",
        expected="the same estimates from the same records",
        mend=_PURE,
    )
    try:
        poisoned = aggregate(*_poisoned(records, given.predictions))
        refused = poisoned == result  # the poisoned values do not enter
        found = "; ".join(f"{name} = {estimate.value}" for name, estimate in poisoned.items())
    except ValueError:
        refused, found = True, ""
    checks.require(
        refused,
        "a NaN is refused",
        found=f"estimates {found} from records and arrays with a NaN",
        expected="ValueError that names the record",
        mend="raise ValueError on a value that is not finite; it is never counted as 0",
    )


def _estimates(spec: EvaluatorSpec, result: object, checks: Checks) -> bool:
    known = {metric.name: metric for metric in spec.metrics}
    headline = spec.metrics[0].name
    named = (
        isinstance(result, dict)
        and bool(result)
        and (spec.headline_varies or headline in result)
        and set(result) <= set(known)
    )
    if not checks.require(
        named and all(isinstance(v, Estimate) for v in result.values()),  # type: ignore[attr-defined]
        "aggregate() returns the metrics of the card",
        found=repr(result),
        expected=f"a mapping to Estimate with {headline!r} and perhaps other metrics of the card",
        mend=f"return Estimate values under the names {', '.join(known)}",
    ):
        return False
    assert isinstance(result, dict)
    ok = True
    for name, estimate in result.items():
        low, high = known[name].range
        inside = (low is None or estimate.value >= low) and (high is None or estimate.value <= high)
        numbers = [estimate.stderr, estimate.low, estimate.high]
        finite = all(
            math.isfinite(x) for x in (estimate.value, *(x for x in numbers if x is not None))
        )
        ok &= checks.require(
            inside and finite and estimate.n > 0,
            f"{name} is a finite estimate in its range",
            found=repr(estimate),
            expected=f"finite numbers, value within {known[name].range}, n above zero",
            mend="check the computation, or the range in the card",
        )
    return ok


def _snapshot(predictions: Mapping[str, Predictions]) -> dict[str, Any]:
    return {
        role: (copy.deepcopy(list(p.records)), {k: a.tobytes() for k, a in p.arrays.items()})
        for role, p in predictions.items()
    }


def _poisoned(
    records: Sequence[Record], predictions: Mapping[str, Predictions]
) -> tuple[list[Record], dict[str, Predictions]]:
    """Return copies whose first record and first rows hold NaN wherever a float stood."""
    first = {k: math.nan if isinstance(v, float) else v for k, v in records[0].items()}
    bad: dict[str, Predictions] = {}
    for role, given in predictions.items():
        arrays = {name: array.copy() for name, array in given.arrays.items()}
        for array in arrays.values():
            if len(array) and array.dtype.kind == "f":
                array[0] = math.nan
        bad[role] = Predictions(records=given.records, arrays=arrays)
    return [first, *records[1:]], bad
