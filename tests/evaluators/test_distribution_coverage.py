"""How often the 95 % intervals of distribution metrics hold the truth, on known Gaussians.

The truth is the metric's expectation at this number of images given the reference, which is what
a table compares; it is measured over fresh samples.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from bench.api import Evaluator, Predictions, Prompt, PromptSuite
from evaluators.fid.inception_score import InceptionScore
from evaluators.fid.kid import KID
from evaluators.fid.kid_rules import kid_of_subsets
from evaluators.fid.metric import FID
from evaluators.fid.precision_recall import PrecisionRecall

WIDTH, PROMPTS, IMAGES = 4, 60, 2
RUNS, TRUTHS = 120, 400
SUITE = PromptSuite(
    name="captions",
    version="1",
    prompts=tuple(Prompt(id=f"c-{i:03d}", text=f"{i}", tag="caption") for i in range(PROMPTS)),
)


def sample(rng: np.random.Generator, prompts: int = PROMPTS, shift: float = 0.0) -> dict:
    """Images of one prompt are alike: half of the variance is the prompt's."""
    shared = rng.normal(size=(prompts, 1, WIDTH))
    own = rng.normal(size=(prompts, IMAGES, WIDTH))
    features = ((shared + own) / np.sqrt(2) + shift).reshape(-1, WIDTH).astype(np.float32)
    records = [{"prompt_id": f"c-{i:03d}", "ordinal": k} for i in range(prompts) for k in range(2)]
    arrays = {"features": features, "logits": 1.5 * features}
    return {"features": Predictions(records=records, arrays=arrays)}


CASES: list[tuple[type[Evaluator], str, float]] = [
    (FID, "fid", 0.5),
    (KID, "kid", 0.5),
    (InceptionScore, "one_split", 0.0),
    (PrecisionRecall, "precision", 0.5),
    (PrecisionRecall, "recall", 0.5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "metric", "shift"), CASES)
def test_intervals_hold_the_truth_as_often_as_they_say(
    cls: Callable[[], Evaluator], metric: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of the 100 subsets of the other estimate, which has no interval, one is enough here
    monkeypatch.setattr("evaluators.fid.kid.kid_of_subsets", partial(kid_of_subsets, subsets=1))
    evaluator = cls()
    reference = sample(np.random.default_rng(10_000), prompts=150)

    def measure(seed: int):
        given = sample(np.random.default_rng(seed), shift=shift)
        records = list(evaluator.score(SUITE, given))
        return evaluator.aggregate(records, given, reference)[metric]

    truth = np.mean([measure(20_000 + seed).value for seed in range(TRUTHS)])
    runs = [measure(seed) for seed in range(RUNS)]
    held = np.mean([r.low <= truth <= r.high for r in runs])
    # 120 runs of a true 95 % give 0.90 to 0.99 in 99 of 100 cases
    assert 0.89 <= held <= 1.0, (metric, held)
    stated = np.sqrt(np.mean([r.stderr**2 for r in runs]))
    spread = np.std([r.value for r in runs], ddof=1)
    assert 0.75 < stated / spread < 1.5, (metric, stated / spread)
