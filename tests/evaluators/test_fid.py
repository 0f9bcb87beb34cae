import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.fid.frechet import frechet_distance
from evaluators.fid.inception_score import InceptionScore
from evaluators.fid.metric import FID

WIDTH = 6


def suite(prompts=40):
    return PromptSuite(
        name="captions",
        version="1",
        prompts=tuple(
            Prompt(id=f"c-{i:03d}", text=f"caption {i}", tag="caption") for i in range(prompts)
        ),
    )


def predict(prompts, *, images=2, seed=0, shift=0.0):
    """Features whose prompts differ, so that images of one prompt are alike."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(len(prompts), 1, WIDTH))
    own = rng.normal(size=(len(prompts), images, WIDTH))
    records = [{"prompt_id": p.id, "ordinal": k} for p in prompts for k in range(images)]
    features = (shared + own + shift).reshape(-1, WIDTH).astype(np.float32)
    return {"features": Predictions(records=records, arrays={"features": features})}


def measure(prompts, predictions, reference):
    evaluator = FID()
    return evaluator.aggregate(evaluator.score(prompts, predictions), predictions, reference)["fid"]


def test_value_is_the_frechet_distance_of_the_two_samples():
    prompts = suite()
    ours, theirs = predict(prompts), predict(prompts, seed=1, shift=0.5)
    estimate = measure(prompts, ours, theirs)
    a, b = (p["features"].arrays["features"].astype(np.float64) for p in (ours, theirs))
    expected = frechet_distance(
        a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)
    )
    assert estimate.value == pytest.approx(expected, rel=1e-9)
    assert (estimate.n, estimate.clusters, estimate.interval) == (80, 40, "block-jackknife")
    assert 0.0 <= estimate.low < estimate.value < estimate.high


def test_distance_to_itself_is_zero_and_its_interval_stays_above():
    prompts = suite()
    same = predict(prompts)
    estimate = measure(prompts, same, same)
    assert estimate.value == pytest.approx(0.0, abs=1e-9)
    assert estimate.low == 0.0


def test_standard_error_is_the_spread_over_fresh_prompts():
    prompts = suite(60)
    reference = predict(suite(400), seed=99, shift=1.0)
    runs = [measure(prompts, predict(prompts, seed=s), reference) for s in range(60)]
    spread = np.std([r.value for r in runs], ddof=1)
    stated = np.sqrt(np.mean([r.stderr**2 for r in runs]))
    assert 0.75 < stated / spread < 1.35


def test_stored_order_is_no_matter_and_other_images_are_left_out():
    prompts = suite()
    ours, reference = predict(prompts), predict(prompts, seed=1)
    stored = ours["features"]
    order = np.random.default_rng(5).permutation(len(stored.records))
    shuffled = {
        "features": Predictions(
            records=[stored.records[i] for i in order],
            arrays={"features": stored.arrays["features"][order]},
        )
    }
    assert measure(prompts, shuffled, reference) == measure(prompts, ours, reference)
    few = PromptSuite(name="few", version="1", prompts=prompts.prompts[:5])
    estimate = measure(few, ours, reference)
    assert (estimate.n, estimate.clusters) == (10, 5)


def test_leave_out_values_are_those_of_the_remaining_prompts():
    prompts = suite(20)
    ours, reference = predict(prompts), predict(prompts, seed=1)
    estimate = measure(prompts, ours, reference)
    assert estimate.block_sizes == (2,) * 20
    rests = [
        PromptSuite(
            name="rest", version="1", prompts=(*prompts.prompts[:i], *prompts.prompts[i + 1 :])
        )
        for i in range(20)
    ]
    without = sorted(measure(rest, ours, reference).value for rest in rests)
    assert sorted(estimate.leave_out) == pytest.approx(without, rel=1e-9)


def test_one_prompt_has_a_value_but_no_interval():
    prompts = suite(1)
    estimate = measure(prompts, predict(prompts, images=4), predict(suite(9), seed=1))
    assert estimate.value > 0
    assert (estimate.stderr, estimate.low, estimate.interval) == (None, None, "none")
    pair = suite(2)
    estimate = measure(pair, predict(pair, images=1), predict(suite(9), seed=1))
    assert estimate.stderr is None  # one image is left without each block


def test_a_missing_image_is_refused_by_name():
    prompts = suite()
    predictions = predict(prompts)
    del predictions["features"].records[9]
    with pytest.raises(IncompleteError, match=r"fid: no features prediction.*c-004/1"):
        FID().score(prompts, predictions)
    with pytest.raises(IncompleteError, match="no array 'features'"):
        FID().aggregate([], {}, predictions)
    short = {"features": Predictions(records=predict(prompts)["features"].records[:4])}
    with pytest.raises(IncompleteError, match="no array"):
        FID().aggregate([], short, short)
    records = FID().score(prompts, predict(prompts))
    fewer = predict(suite(39))
    with pytest.raises(IncompleteError, match="c-039/0, c-039/1"):
        FID().aggregate(records, fewer, fewer)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_broken_feature_is_refused_naming_the_image(bad):
    prompts = suite()
    predictions, reference = predict(prompts), predict(prompts, seed=1)
    records = FID().score(prompts, predictions)
    predictions["features"].arrays["features"][7, 2] = bad
    with pytest.raises(ValueError, match="c-003/1"):
        FID().aggregate(records, predictions, reference)
    with pytest.raises(ValueError, match="c-003/1"):
        FID().aggregate(records, reference, predictions)


def test_a_reference_is_required_and_must_have_the_same_width():
    prompts = suite()
    predictions = predict(prompts)
    records = FID().score(prompts, predictions)
    with pytest.raises(UsageError, match="reference"):
        FID().aggregate(records, predictions)
    narrow = {
        "features": Predictions(
            records=predictions["features"].records,
            arrays={"features": predictions["features"].arrays["features"][:, :3]},
        )
    }
    with pytest.raises(ValueError, match="width"):
        FID().aggregate(records, predictions, narrow)
    flat = {
        "features": Predictions(
            records=predictions["features"].records, arrays={"features": np.zeros(80)}
        )
    }
    with pytest.raises(ValueError, match="one row for each image"):
        FID().aggregate(records, flat, predictions)


def test_fid_and_inception_score_share_one_feature_pass():
    prompt = suite().prompts[0]
    asks = [
        (e.spec.backends, [tuple(e.queries(r, prompt)) for r in e.spec.backends])
        for e in (FID(), InceptionScore())
    ]
    assert asks[0] == asks[1] == (("features",), [()])
