import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite
from evaluators.fid.inception_rules import inception_score
from evaluators.fid.inception_score import InceptionScore, split_of_images

CLASSES = 7


def suite(prompts=40):
    return PromptSuite(
        name="captions",
        version="1",
        prompts=tuple(
            Prompt(id=f"c-{i:03d}", text=f"caption {i}", tag="caption") for i in range(prompts)
        ),
    )


def predict(prompts, *, images=2, seed=0, sharpness=3.0):
    """Logits whose images of one prompt are alike."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(len(prompts), 1, CLASSES)) * sharpness
    own = rng.normal(size=(len(prompts), images, CLASSES))
    records = [{"prompt_id": p.id, "ordinal": k} for p in prompts for k in range(images)]
    logits = (shared + own).reshape(-1, CLASSES).astype(np.float32)
    return {"features": Predictions(records=records, arrays={"logits": logits})}


def measure(prompts, predictions):
    evaluator = InceptionScore()
    return evaluator.aggregate(evaluator.score(prompts, predictions), predictions)


def test_values_are_those_of_the_published_splits_and_of_one():
    prompts = suite()
    predictions = predict(prompts)
    logits = predictions["features"].arrays["logits"]
    estimates = measure(prompts, predictions)
    assert [m.name for m in InceptionScore.spec.metrics] == list(estimates)
    published, one = estimates["inception_score"], estimates["one_split"]
    assert published.value == pytest.approx(inception_score(logits).mean, rel=1e-12)
    assert one.value == pytest.approx(inception_score(logits, splits=1).mean, rel=1e-12)
    assert (one.n, one.clusters, one.interval) == (80, 40, "block-jackknife")
    for estimate in (published, one):
        assert 1.0 <= estimate.low < estimate.value < estimate.high


def test_closed_forms():
    prompts = suite(70)
    records = [{"prompt_id": p.id, "ordinal": 0} for p in prompts]
    flat = np.zeros((70, CLASSES), dtype=np.float32)
    sure = np.full((70, CLASSES), -200.0, dtype=np.float32)
    sure[np.arange(70), np.arange(70) % CLASSES] = 200.0
    for logits, expected in ((flat, 1.0), (sure, CLASSES)):
        predictions = {"features": Predictions(records=records, arrays={"logits": logits})}
        assert measure(prompts, predictions)["one_split"].value == pytest.approx(expected)


def test_every_image_is_in_the_split_upstream_puts_it_in():
    n = 57
    split_of = split_of_images(n, 10)
    order = np.random.RandomState(2020).permutation(n)
    for split in range(10):
        assert set(order[split * n // 10 : (split + 1) * n // 10]) == set(
            np.flatnonzero(split_of == split)
        )
    assert not split_of_images(n, 1).any()


def test_standard_error_is_the_spread_over_fresh_prompts():
    prompts = suite(60)
    runs = [measure(prompts, predict(prompts, seed=s)) for s in range(50)]
    for metric in ("inception_score", "one_split"):
        spread = np.std([r[metric].value for r in runs], ddof=1)
        stated = np.sqrt(np.mean([r[metric].stderr ** 2 for r in runs]))
        assert 0.7 < stated / spread < 1.4


def test_fewer_than_ten_images_make_one_split():
    prompts = suite(4)
    estimates = measure(prompts, predict(prompts))
    assert estimates["inception_score"] == estimates["one_split"]
    ten = suite(10)
    estimate = measure(ten, predict(ten, images=1))["inception_score"]
    assert estimate.value == pytest.approx(1.0)  # one image a split
    assert estimate.stderr is None


def test_missing_or_broken_logits_are_refused_naming_the_image():
    prompts = suite()
    predictions = predict(prompts)
    records = InceptionScore().score(prompts, predictions)
    predictions["features"].arrays["logits"][5, 1] = float("nan")
    with pytest.raises(ValueError, match=r"logits of 1 images.*c-002/1"):
        InceptionScore().aggregate(records, predictions)
    del predictions["features"].records[5]
    with pytest.raises(IncompleteError, match=r"inception-score: no features.*c-002/1"):
        InceptionScore().score(prompts, predictions)
    with pytest.raises(IncompleteError, match="no array 'logits'"):
        InceptionScore().aggregate(records, {"features": Predictions(records=[])})
