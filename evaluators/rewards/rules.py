"""What the preference scorers share: a score per image, its aggregation, and ranking figures. Pure.

A back-end's records hold `score`, a list with one number per text it was asked (one for scorers
that read no text).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.api import Estimate, Evaluator, Predictions, PromptSuite, Record
from evaluators.records import by_image, column, finite, images_per_prompt

REPLICATES = 1000

PROMPT_SETS: Mapping[str, tuple[str, ...]] = {
    "pickapic-v2": ("pickapic", "pick-a-pic"),
    "pickapic-v1": ("pickapic-v1", "pick-a-pic-v1", "pickapic_v1"),
    "partiprompts": ("parti",),
    "hpdv2": ("hpdv2", "hpd-v2"),
    "drawbench": ("drawbench",),
    "tiny": ("captions-tiny", "geneval-tiny", "compbench-tiny", "pairs-tiny", "tiny"),
    "other": (),
}
"""Prompt sets whose scores papers report, with how suite names begin; "other" takes the rest."""


def prompt_set(suite_name: str) -> str:
    """Return which of `PROMPT_SETS` a suite is, by the longest beginning that fits its name."""
    fits = [
        (len(start), name)
        for name, starts in PROMPT_SETS.items()
        for start in starts
        if suite_name.lower().startswith(start)
    ]
    return max(fits)[1] if fits else "other"


class RewardEvaluator(Evaluator):
    """One score per image by the one back-end of `spec`; mean and median over all images.

    Attributes:
        keep: fields of the predictions that go into the records.
    """

    keep: ClassVar[tuple[str, ...]] = ()

    def score(self, suite: PromptSuite, predictions: Mapping[str, Predictions]) -> Iterable[Record]:
        """Return one record per image: prompt_id, ordinal, tag, score, and what is kept.

        Raises:
            IncompleteError: an image has no score, naming it.
            ValueError: a score is NaN or infinite, naming the image.
        """
        (role,) = self.spec.backends
        rows = scored(suite, predictions, role, evaluator=self.spec.name, keep=self.keep)
        return [{**record, "score": score} for record, (score,) in rows]

    def aggregate(
        self,
        records: Sequence[Record],
        predictions: Mapping[str, Predictions],
        reference: Mapping[str, Predictions] | None = None,
    ) -> dict[str, Estimate]:
        """Return `mean` and `median`.

        Raises:
            ValueError: a score is NaN or infinite, naming the record; or there is none.
        """
        return {"mean": mean_of(records, "score"), "median": median_of(records, "score")}


def scored(
    suite: PromptSuite,
    predictions: Mapping[str, Predictions],
    role: str,
    *,
    evaluator: str,
    texts: int = 1,
    keep: Sequence[str] = (),
) -> Iterator[tuple[Record, list[float]]]:
    """Yield a record (prompt_id, ordinal, tag) and the scores of each image, in suite order.

    Args:
        suite: the prompts.
        predictions: by role.
        role: of the scorer.
        evaluator: named in the messages.
        texts: how many scores a prediction must have.
        keep: fields of the predictions that go into the records.

    Raises:
        IncompleteError: an image has no score, naming it.
        ValueError: a score is NaN or infinite, or there are too few or too many, naming the image.
    """
    images = images_per_prompt(suite, [predictions[role]] if role in predictions else [])
    found = by_image(suite, predictions, role, evaluator=evaluator, images=images)
    for prompt in suite:
        for ordinal in prompt.ordinals(images):
            prediction = found[prompt.id, ordinal]
            scores = prediction.get("score")
            if not isinstance(scores, list) or len(scores) != texts:
                raise ValueError(
                    f"image {prompt.id}/{ordinal}: {role} gave {scores!r} as score, expected a "
                    f"list of {texts}; its predictions were made for other questions"
                )
            record: dict[str, Any] = {
                "prompt_id": prompt.id,
                "ordinal": ordinal,
                "tag": prompt.tag,
                **{name: prediction[name] for name in keep},
            }
            yield record, [finite(score, prediction, "score") for score in scores]


def mean_of(records: Sequence[Record], key: str) -> Estimate:
    """Return the mean over all images of `key`, with an interval by bootstrap of prompts.

    Tags are no strata here: the published averages weigh every image alike.

    Raises:
        ValueError: a value is NaN or infinite, naming the record.
    """
    from bench.stats.bootstrap import clustered_mean

    return clustered_mean(column(records, key), [record["prompt_id"] for record in records])


def median_of(records: Sequence[Record], key: str) -> Estimate:
    """Return the median over all images of `key`; interval: percentile bootstrap of prompts.

    Raises:
        ValueError: a value is NaN or infinite, naming the record.
    """
    values = np.array(column(records, key))
    value = float(np.median(values))
    members: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        members.setdefault(record["prompt_id"], []).append(row)
    estimate = Estimate(value=value, n=len(values), clusters=len(members))
    sizes = {len(rows) for rows in members.values()}
    if len(members) < 2 or len(sizes) != 1:
        return estimate
    table = values[np.array([members[prompt] for prompt in sorted(members)])]
    generator = np.random.Generator(np.random.Philox(key=_key(f"median\x1f{key}")))
    drawn = [
        float(np.median(table[generator.integers(len(table), size=len(table))]))
        for _ in range(REPLICATES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return replace(
        estimate,
        stderr=float(np.std(drawn)),
        low=min(low, value),
        high=max(high, value),
        interval="prompt-bootstrap",
    )


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def mean_of_chunks(values: Sequence[float], size: int = 80) -> tuple[float, float]:
    """Return mean and standard deviation (over n) of the means of consecutive chunks.

    HPSv2's aggregation of a style: with 800 images the mean is that of all; where images are
    missing, the last chunk weighs as much as the others.
    Source: tgxs002/HPSv2@866735e:hpsv2/evaluation.py `evaluate_benchmark`.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("no score to average")
    means = [float(np.mean(values[i : i + size])) for i in range(0, len(values), size)]
    return float(np.mean(means)), float(np.std(means))


def choice_probabilities(scores: Sequence[float]) -> NDArray[np.float64]:
    """Return the probability that each image of one prompt is chosen: softmax of raw scores.

    Source: Kirstain et al., NeurIPS 2023, eq. 1; the temperature is in PickScore's raw score.
    """
    numbers = np.asarray(scores, dtype=np.float64)
    weights = np.exp(numbers - numbers.max())
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def choice_credit(first: float, second: float, label: float, tie_threshold: float) -> float:
    """Return the credit for predicting who wins a pair: 1, 0, or 0.5 where one side says tie.

    Args:
        first, second: raw scores of the two images.
        label: 1 the first was preferred, 0 the second, 0.5 tie.
        tie_threshold: a tie is predicted where the probabilities differ by no more.

    Source: yuvalkirstain/PickScore@f79607f:trainer/scripts/eval_preference_predictor.py.
    """
    one, other = choice_probabilities([first, second])
    predicted = 0.5 if abs(one - other) <= tie_threshold else float(one > other)
    if predicted == label:
        return 1.0
    return 0.5 if 0.5 in (predicted, label) else 0.0


def inversion_score(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the share of pairs that two rankings do not put in opposite order; ties agree.

    Source: tgxs002/HPSv2@866735e:hpsv2/src/training/train.py `inversion_score`.

    Raises:
        ValueError: unequal lengths, or fewer than two ranks.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"rankings of {len(first)} and {len(second)} images; expected as many, two at least"
        )
    opposed = sum(
        (first[i] - first[j]) * (second[i] - second[j]) < 0
        for i in range(len(first))
        for j in range(i + 1, len(first))
    )
    return 1.0 - opposed / math.comb(len(first), 2)


def ranking_accuracy(scores: Sequence[float], ranks: Sequence[float]) -> float | None:
    """Return the share of pairs of unlike true ranks (1 is best) that scores put in order.

    Pairs of equal true ranks do not count, equal scores are wrong; None where no pair counts.
    Source: tgxs002/HPSv2@866735e:hpsv2/src/training/train.py `calc_ImageReward`.

    Raises:
        ValueError: unequal lengths.
    """
    if len(scores) != len(ranks):
        raise ValueError(f"{len(scores)} scores for {len(ranks)} ranks")
    pairs = [
        (scores[i] - scores[j]) * (ranks[j] - ranks[i]) > 0
        for i in range(len(ranks))
        for j in range(i + 1, len(ranks))
        if ranks[i] != ranks[j]
    ]
    return sum(pairs) / len(pairs) if pairs else None
