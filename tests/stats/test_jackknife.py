"""Delete-block jackknife: identities, coverage on known Gaussians, pairing, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.api import ProtocolError
from bench.stats import assign_blocks, combine, require_equal_n
from evaluators.fid.frechet import FrechetReference, GaussianSums
from evaluators.fid.inception_rules import ClassSums, inception_score
from tests.stats.blocks import block_jackknife, paired_block_jackknife

Floats = NDArray[np.float64]
WIDTH, IMAGES, BLOCKS = 6, 300, 20
SCALES = np.linspace(0.5, 2.0, WIDTH)
SHIFT = np.linspace(-0.4, 0.6, WIDTH)
TRUE_FID = float(np.sum(SHIFT**2) + np.sum((SCALES - 1.0) ** 2))


def reference() -> FrechetReference:
    return FrechetReference(np.zeros(WIDTH), np.eye(WIDTH))


def draw(generator: np.random.Generator, n: int = IMAGES) -> Floats:
    return SHIFT + SCALES * generator.normal(size=(n, WIDTH))


def blocked(features: Floats, blocks: int = BLOCKS) -> list[GaussianSums]:
    return [GaussianSums.of(part) for part in np.array_split(features, blocks)]


def sample_mean(sums: GaussianSums) -> float:
    return float(sums.mean[0])


def test_of_a_mean_is_the_textbook_standard_error_without_bias() -> None:
    x = np.random.default_rng(0).normal(size=(60, 1))
    found = block_jackknife([GaussianSums.of(row[None]) for row in x], sample_mean)
    assert found.value == pytest.approx(float(x.mean()))
    assert found.stderr == pytest.approx(float(x.std(ddof=1)) / math.sqrt(60), rel=1e-10)
    assert found.bias == pytest.approx(0.0, abs=1e-12)
    assert (found.n, found.blocks) == (60, 60)


def test_of_the_population_variance_is_corrected_to_n_less_one() -> None:
    x = np.random.default_rng(1).normal(size=(40, 1))

    def population_variance(sums: GaussianSums) -> float:
        return float(sums.scatter[0, 0]) / sums.count

    found = block_jackknife([GaussianSums.of(row[None]) for row in x], population_variance)
    corrected = found.estimate(bias_corrected=True)
    assert corrected.value == pytest.approx(float(x.var(ddof=1)), rel=1e-10)
    assert corrected.interval == "block-jackknife-bias-corrected"
    assert found.estimate().value == pytest.approx(float(x.var(ddof=0)), rel=1e-10)


def test_unequal_blocks_of_a_mean() -> None:
    # for a mean the pseudo-values are the block means: the variance can be written by hand
    generator = np.random.default_rng(2)
    sizes = [3, 5, 8, 13, 21]
    parts = [generator.normal(size=(size, 1)) for size in sizes]
    found = block_jackknife([GaussianSums.of(part) for part in parts], sample_mean)
    n, mean = sum(sizes), float(np.concatenate(parts).mean())
    expected = np.mean([(float(p.mean()) - mean) ** 2 / (n / len(p) - 1) for p in parts])
    assert found.stderr == pytest.approx(math.sqrt(float(expected)), rel=1e-10)
    assert found.bias == pytest.approx(0.0, abs=1e-12)


def test_leaving_out_by_subtraction_is_computing_without() -> None:
    features = draw(np.random.default_rng(3))
    parts = np.array_split(features, BLOCKS)
    measured = reference().distance_to
    direct = [
        measured(GaussianSums.of(np.concatenate(parts[:j] + parts[j + 1 :]))) for j in range(BLOCKS)
    ]
    by_hand = combine(measured(GaussianSums.of(features)), direct, [len(p) for p in parts])
    found = block_jackknife(blocked(features), measured)
    assert found.value == pytest.approx(by_hand.value, rel=1e-12)
    assert found.stderr == pytest.approx(by_hand.stderr, rel=1e-8)
    assert found.bias == pytest.approx(by_hand.bias, rel=1e-6)


def test_fid_coverage_on_known_gaussians() -> None:
    """FID at n images is biased upwards: the interval is for its expectation at that n.

    The bias-corrected interval is for the true distance. A percentile bootstrap of the same sets
    is centred on a value biased twice and misses both.
    """
    generator = np.random.default_rng(4)
    ideal = reference()
    expected_at_n = float(
        np.mean([ideal.distance_to(GaussianSums.of(draw(generator))) for _ in range(1500)])
    )
    assert expected_at_n > TRUE_FID
    runs, hits, corrected_hits = 300, 0, 0
    for _ in range(runs):
        found = block_jackknife(blocked(draw(generator)), ideal.distance_to)
        plain, corrected = found.estimate(), found.estimate(bias_corrected=True)
        assert plain.low is not None and plain.high is not None
        assert corrected.low is not None and corrected.high is not None
        hits += plain.low <= expected_at_n <= plain.high
        corrected_hits += corrected.low <= TRUE_FID <= corrected.high
    assert 0.90 <= hits / runs <= 0.985
    assert 0.90 <= corrected_hits / runs <= 0.985


def test_jackknife_works_where_a_plain_bootstrap_of_fid_fails() -> None:
    # real features are wide for their number of images: the bias stands well above the noise
    width, n, runs = 24, 120, 60
    generator = np.random.default_rng(5)
    ideal = FrechetReference(np.zeros(width), np.eye(width))

    def drawn() -> Floats:
        return np.asarray(0.3 + generator.normal(size=(n, width)))

    expected_at_n = float(
        np.mean([ideal.distance_to(GaussianSums.of(drawn())) for _ in range(600)])
    )
    bootstrap_own = bootstrap_hits = jackknife_own = jackknife_hits = 0
    for _ in range(runs):
        features = drawn()
        value = ideal.distance_to(GaussianSums.of(features))
        resampled = [
            ideal.distance_to(GaussianSums.of(features[generator.integers(n, size=n)]))
            for _ in range(60)
        ]
        low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
        bootstrap_own += low <= value <= high
        bootstrap_hits += low <= expected_at_n <= high
        found = block_jackknife(blocked(features), ideal.distance_to).estimate()
        assert found.low is not None and found.high is not None
        jackknife_own += found.low <= value <= found.high
        jackknife_hits += found.low <= expected_at_n <= found.high
    assert (bootstrap_own, bootstrap_hits) == (0, 0)
    assert jackknife_own == runs
    assert 0.88 <= jackknife_hits / runs <= 1.0


def test_blocks_of_prompts_cover_where_blocks_of_images_do_not() -> None:
    prompts, images, runs = 60, 4, 200
    clusters = np.repeat(np.arange(prompts), images)
    ideal = reference()
    generator = np.random.default_rng(6)

    def drawn() -> Floats:
        common = generator.normal(size=(prompts, WIDTH)).repeat(images, axis=0)
        own = generator.normal(size=(prompts * images, WIDTH))
        return np.asarray(SHIFT + SCALES * (0.9 * common + math.sqrt(0.19) * own))

    expected = float(np.mean([ideal.distance_to(GaussianSums.of(drawn())) for _ in range(1500)]))
    by_prompt = assign_blocks(clusters.tolist(), blocks=BLOCKS)
    by_image = generator.permutation(len(clusters)) % BLOCKS
    hits = {"prompt": 0, "image": 0}
    for _ in range(runs):
        features = drawn()
        for name, block_of in (("prompt", by_prompt), ("image", by_image)):
            blocks = [GaussianSums.of(features[block_of == j]) for j in range(BLOCKS)]
            found = block_jackknife(blocks, ideal.distance_to).estimate()
            assert found.low is not None and found.high is not None
            hits[name] += found.low <= expected <= found.high
    assert 0.88 <= hits["prompt"] / runs <= 0.99
    assert hits["image"] / runs < 0.80


def test_inception_score_coverage() -> None:
    generator = np.random.default_rng(7)
    temperature = generator.normal(size=8)

    def drawn() -> list[ClassSums]:
        logits = temperature + 2.0 * generator.normal(size=(240, 8))
        return [ClassSums.of(part) for part in np.array_split(logits, BLOCKS)]

    def whole(parts: list[ClassSums]) -> float:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total.score()

    expected = float(np.mean([whole(drawn()) for _ in range(1000)]))
    hits, runs = 0, 200
    for _ in range(runs):
        found = block_jackknife(drawn(), ClassSums.score).estimate()
        assert found.low is not None and found.high is not None
        hits += found.low <= expected <= found.high
    assert 0.88 <= hits / runs <= 0.99


def test_inception_score_without_a_block_is_that_of_the_rest() -> None:
    logits = np.random.default_rng(8).normal(size=(50, 5)) * 3
    logits[:10, 4], logits[10:, 4] = 40.0, -900.0  # a class only the left-out images have
    rest = ClassSums.of(logits) - ClassSums.of(logits[:10])
    expected = inception_score(logits[10:], splits=1).mean
    assert rest.score() == pytest.approx(expected, rel=1e-12)


def test_kid_by_combine() -> None:
    """A kernel statistic has no additive sums: `combine` takes its values without each block."""
    generator = np.random.default_rng(9)
    x, y = generator.normal(size=(60, 4)) + 0.5, generator.normal(size=(60, 4))

    def kid(a: Floats, b: Floats) -> float:
        def kernel(u: Floats, v: Floats) -> Floats:
            return np.asarray((u @ v.T / u.shape[1] + 1.0) ** 3)

        n, m = len(a), len(b)
        own_a = (kernel(a, a).sum() - np.trace(kernel(a, a))) / (n * (n - 1))
        own_b = (kernel(b, b).sum() - np.trace(kernel(b, b))) / (m * (m - 1))
        return float(own_a + own_b - 2 * kernel(a, b).mean())

    blocks = np.arange(60) % 15
    found = combine(kid(x, y), [kid(x[blocks != j], y) for j in range(15)], [4] * 15)
    # an unbiased U-statistic: the jackknife finds hardly any bias, and a spread that redrawing has
    redrawn = [kid(generator.normal(size=(60, 4)) + 0.5, y) for _ in range(300)]
    assert abs(found.bias) < 0.25 * found.stderr
    assert 0.5 < found.stderr / float(np.std(redrawn)) < 2.0


def test_pairing_removes_what_the_rows_share() -> None:
    generator = np.random.default_rng(10)
    a = draw(generator)
    b = a + 0.1 + 0.02 * generator.normal(size=a.shape)
    measured = reference().distance_to
    paired = paired_block_jackknife(blocked(a), blocked(b), measured)
    one, other = (block_jackknife(blocked(x), measured) for x in (a, b))
    assert paired.value == pytest.approx(one.value - other.value)
    assert paired.stderr < 0.3 * math.hypot(one.stderr, other.stderr)
    nothing = paired_block_jackknife(blocked(a), blocked(a), measured)
    assert (nothing.value, nothing.stderr) == (0.0, 0.0)


def test_paired_difference_of_fids_coverage() -> None:
    generator = np.random.default_rng(11)
    measured = reference().distance_to

    def pair() -> tuple[Floats, Floats]:
        a = draw(generator, 200)
        return a, np.asarray(0.8 * a + 0.2 * generator.normal(size=a.shape))

    def difference() -> float:
        a, b = pair()
        return measured(GaussianSums.of(a)) - measured(GaussianSums.of(b))

    expected = float(np.mean([difference() for _ in range(800)]))
    hits, runs = 0, 200
    for _ in range(runs):
        a, b = pair()
        found = paired_block_jackknife(blocked(a), blocked(b), measured).estimate()
        assert found.low is not None and found.high is not None
        hits += found.low <= expected <= found.high
    assert 0.88 <= hits / runs <= 0.99


def test_interval_is_student_with_blocks_less_one() -> None:
    found = combine(5.0, [4.0, 5.0, 6.0], [2, 2, 2]).estimate(clusters=3)
    # standard error sqrt(2/3 * 2), t(2) = 4.302653
    assert found.stderr == pytest.approx(math.sqrt(4 / 3))
    assert found.high == pytest.approx(5.0 + 4.302653 * math.sqrt(4 / 3), abs=1e-5)
    assert found.low == pytest.approx(5.0 - 4.302653 * math.sqrt(4 / 3), abs=1e-5)
    assert (found.n, found.clusters, found.interval) == (6, 3, "block-jackknife")


def test_blocks_keep_prompts_whole_and_tasks_even() -> None:
    clusters = [f"p{i // 4}" for i in range(480)]
    strata = [f"task{(i // 4) % 3}" for i in range(480)]
    found = assign_blocks(clusters, strata, blocks=20)
    for prompt in set(clusters):
        assert len({int(b) for b, c in zip(found, clusters, strict=True) if c == prompt}) == 1
    assert np.bincount(found).tolist() == [24] * 20
    for task in set(strata):
        assert np.bincount(found[np.array(strata) == task]).tolist() == [8] * 20


def test_blocks_depend_on_the_prompts_only() -> None:
    clusters = [f"p{i // 2}" for i in range(60)]
    order = np.random.default_rng(12).permutation(60)
    found = assign_blocks(clusters, blocks=7)
    shuffled = assign_blocks([clusters[i] for i in order], blocks=7)
    assert (shuffled == found[order]).all()
    assert assign_blocks(["a", "b", "c"], blocks=20).max() == 2
    with pytest.raises(ValueError, match="two prompts"):
        assign_blocks(["a", "a"])
    with pytest.raises(ValueError, match="stands in tasks"):
        assign_blocks(["a", "a", "b"], ["x", "y", "y"])


def test_rows_of_unlike_size_are_refused_by_name() -> None:
    assert require_equal_n({"base": 1200, "ddspo": 1200}, "FID") == 1200
    with pytest.raises(ProtocolError, match=r"FID depends on .* base: 1200, ddspo: 1196"):
        require_equal_n({"base": 1200, "ddspo": 1196}, "FID")
    with pytest.raises(ValueError, match="no rows"):
        require_equal_n({}, "FID")
    features = draw(np.random.default_rng(13))
    with pytest.raises(ProtocolError, match="same prompts in the same blocks"):
        paired_block_jackknife(blocked(features), blocked(features[:-1]), sample_mean)


def test_broken_functionals_are_refused_by_block() -> None:
    with pytest.raises(ValueError, match="without block 1 is NaN"):
        combine(1.0, [1.0, math.nan, 1.0], [1, 1, 1])
    with pytest.raises(ValueError, match="of all images is NaN"):
        combine(math.inf, [1.0, 1.0], [1, 1])
    with pytest.raises(ValueError, match="two or more blocks"):
        combine(1.0, [1.0], [5])
    with pytest.raises(ValueError, match="two or more blocks"):
        block_jackknife([GaussianSums.of(np.zeros((3, 2)))], sample_mean)
