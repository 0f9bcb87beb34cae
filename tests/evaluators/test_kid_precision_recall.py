import numpy as np
import pytest

from bench.api import IncompleteError, Predictions, Prompt, PromptSuite, UsageError
from evaluators.fid.clip_fid import ClipFID
from evaluators.fid.kid import KID
from evaluators.fid.kid_rules import kernel_sums, kid, kid_of_subsets
from evaluators.fid.manifold_rules import by_block, inside, precision_recall, radii
from evaluators.fid.metric import FID
from evaluators.fid.precision_recall import PrecisionRecall
from evaluators.fid.statistics import FIDOfStatistics

WIDTH = 6


def suite(prompts=40):
    return PromptSuite(
        name="captions",
        version="1",
        prompts=tuple(
            Prompt(id=f"c-{i:03d}", text=f"caption {i}", tag="caption") for i in range(prompts)
        ),
    )


def predict(prompts, *, images=2, seed=0, shift=0.0, width=WIDTH, role="features"):
    rng = np.random.default_rng(seed)
    records = [{"prompt_id": p.id, "ordinal": k} for p in prompts for k in range(images)]
    features = rng.normal(size=(len(records), width)).astype(np.float32) + np.float32(shift)
    return {role: Predictions(records=records, arrays={"features": features})}


def measure(cls, prompts, predictions, reference):
    evaluator = cls()
    return evaluator.aggregate(evaluator.score(prompts, predictions), predictions, reference)


def pairs_by_hand(x, y):
    """The U-statistic from its definition, one pair at a time."""
    k = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    own = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * np.mean([k(a, b) for a in x for b in y])


def test_kid_is_the_u_statistic_with_and_without_a_block(monkeypatch):
    monkeypatch.setattr("evaluators.fid.kid_rules._CHUNK", 5)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(13, 4)), rng.normal(size=(9, 4)) + 0.4
    blocks = rng.permutation(np.arange(13) % 3)
    sums = kernel_sums(x, y, blocks)
    assert sums.distance() == pytest.approx(pairs_by_hand(x, y), rel=1e-10)
    for block in range(3):
        expected = pairs_by_hand(x[blocks != block], y)
        assert sums.distance(block) == pytest.approx(expected, rel=1e-9)


def test_one_subset_of_everything_is_the_exact_estimate():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 5)) + 1
    assert kid_of_subsets(x, y, subsets=1) == pytest.approx(kid(x, y), rel=1e-10)
    many = kid_of_subsets(x, y, subsets=400, size=10)
    assert many == pytest.approx(kid(x, y), rel=0.05)
    assert kid_of_subsets(x, y, size=10) == kid_of_subsets(x, y, size=10)


def test_kid_is_unbiased_where_fid_is_not():
    prompts = suite(20)
    kids, fids = [], []
    for seed in range(60):
        ours, reference = predict(prompts, seed=seed), predict(prompts, seed=1000 + seed)
        kids.append(measure(KID, prompts, ours, reference)["kid"].value)
        fids.append(measure(FID, prompts, ours, reference)["fid"].value)
    assert abs(np.mean(kids)) < 3 * np.std(kids) / np.sqrt(60)
    assert np.mean(fids) > 10 * np.std(fids) / np.sqrt(60)


def test_kid_of_the_evaluator_and_its_leave_out_values():
    prompts = suite(20)
    ours, reference = predict(prompts, shift=0.5), predict(suite(30), seed=1)
    found = measure(KID, prompts, ours, reference)
    x, y = ours["features"].arrays["features"], reference["features"].arrays["features"]
    assert found["kid"].value == pytest.approx(kid(x, y), rel=1e-10)
    assert found["kid_subsets"].value == pytest.approx(kid_of_subsets(x, y), rel=1e-12)
    rest = PromptSuite(name="rest", version="1", prompts=prompts.prompts[1:])
    without_first = measure(KID, rest, ours, reference)["kid"].value
    assert min(abs(v - without_first) for v in found["kid"].leave_out) < 1e-9
    assert found["kid"].low < found["kid"].value < found["kid"].high


def test_radii_and_balls_on_a_line():
    line = np.array([[0.0], [1.0], [3.0], [7.0], [8.0]])
    assert radii(line, k=1).tolist() == [1, 1, 4, 1, 1]
    assert radii(line, k=3).tolist() == [49, 36, 16, 36, 49]
    points = np.array([[-1.0], [-1.1], [5.0], [5.1], [9.0]])
    assert inside(points, line, radii(line, k=1)).tolist() == [True, False, True, False, True]


def test_precision_and_recall_of_known_arrangements():
    rng = np.random.default_rng(2)
    real = rng.normal(size=(200, 3))
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real + 100, real) == (0.0, 0.0)
    # a collapsed sample is all precise and recalls next to nothing
    spot = real[:1] + 1e-6 * rng.normal(size=(200, 3))
    precision, recall = precision_recall(spot, real)
    assert precision == 1.0 and recall <= 0.01
    # half of the sample far away costs half of the precision and no recall
    half = np.concatenate([real, real + 100])
    precision, recall = precision_recall(half, real)
    assert (precision, recall) == (0.5, 1.0)


def test_recall_without_a_block_is_that_of_the_rest(monkeypatch):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(24, 3)), rng.normal(size=(31, 3)) * 1.5
    blocks = rng.permutation(np.arange(24) % 4)
    whole = by_block(x, y, blocks)
    monkeypatch.setattr("evaluators.fid.manifold_rules._CHUNK", 7)
    precise, recall, without = by_block(x, y, blocks)
    assert (precise == whole[0]).all() and recall == whole[1] and without == whole[2]
    assert precision_recall(x, y) == (precise.mean(), recall)
    for block in range(4):
        kept = blocks != block
        assert precision_recall(x[kept], y) == (precise[kept].mean(), without[block])


def test_precision_recall_estimates_stay_between_zero_and_one():
    prompts = suite(20)
    same = predict(prompts)
    found = measure(PrecisionRecall, prompts, same, same)
    assert (found["precision"].value, found["recall"].value) == (1.0, 1.0)
    assert found["recall"].high == 1.0
    few = suite(2)
    bare = measure(PrecisionRecall, few, predict(few, images=3), predict(prompts, seed=1))
    assert bare["recall"].interval == "none"  # three images are left without a prompt


def test_statistics_in_place_of_features_give_the_same_fid():
    prompts = suite()
    ours, reference = predict(prompts), predict(suite(60), seed=1, shift=0.3)
    features = reference["features"].arrays["features"].astype(np.float64)
    stored = {
        "features": Predictions(
            records=[{"prompt_id": "r", "ordinal": 0}],
            arrays={"mean": features.mean(0), "covariance": np.cov(features, rowvar=False)},
        )
    }
    expected = measure(FID, prompts, ours, reference)["fid"]
    for given in (stored, reference):
        found = measure(FIDOfStatistics, prompts, ours, given)["fid"]
        assert found.value == pytest.approx(expected.value, rel=1e-9)
        assert found.leave_out == pytest.approx(expected.leave_out, rel=1e-9)
    for cls in (KID, PrecisionRecall):
        with pytest.raises(UsageError, match="--keep-features"):
            measure(cls, prompts, ours, stored)


def test_clip_fid_is_fid_on_its_own_role():
    prompts = suite()
    ours, reference = predict(prompts), predict(prompts, seed=1)
    renamed = [{"clip-features": p["features"]} for p in (ours, reference)]
    expected = measure(FID, prompts, ours, reference)["fid"]
    found = measure(ClipFID, prompts, *renamed)["clip_fid"]
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    with pytest.raises(IncompleteError):
        ClipFID().score(prompts, ours)


@pytest.mark.parametrize("cls", [KID, PrecisionRecall, FIDOfStatistics, ClipFID])
def test_bad_input_is_refused(cls):
    role = cls.spec.backends[0]
    prompts = suite(10)
    ours, reference = predict(prompts, role=role), predict(prompts, seed=1, role=role)
    records = cls().score(prompts, ours)
    with pytest.raises(UsageError, match="reference"):
        cls().aggregate(records, ours)
    narrow = predict(prompts, width=WIDTH - 1, role=role)
    with pytest.raises(ValueError, match=r"width|shapes"):
        cls().aggregate(records, ours, narrow)
    ours[role].arrays["features"][7, 2] = np.nan
    with pytest.raises(ValueError, match="c-003/1"):
        cls().aggregate(records, ours, reference)
    with pytest.raises(ValueError, match="c-003/1"):
        cls().aggregate(records, reference, ours)
    del reference[role].records[9]
    with pytest.raises(IncompleteError, match="c-004/1"):
        cls().score(prompts, reference)
