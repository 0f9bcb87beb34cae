"""The prompt bootstrap: value, width, coverage, and what it refuses."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from bench.stats import clustered_mean, clustered_stderr
from bench.stats.bootstrap import _replicate_means
from bench.stats.clusters import stratify

Rows = tuple[list[float], list[str], list[str]]


def world(
    generator: np.random.Generator,
    *,
    rates: list[float],
    prompts: int,
    images: int,
    concentration: float,
) -> Rows:
    """Binary images: each prompt has its own rate, Beta-distributed around the task's."""
    values: list[float] = []
    clusters: list[str] = []
    strata: list[str] = []
    for task, rate in enumerate(rates):
        own = generator.beta(rate * concentration, (1 - rate) * concentration, prompts)
        for prompt in range(prompts):
            values += (generator.random(images) < own[prompt]).astype(float).tolist()
            clusters += [f"t{task}p{prompt}"] * images
            strata += [f"task{task}"] * images
    return values, clusters, strata


def test_value_is_the_unweighted_mean_of_task_means() -> None:
    values = [1, 1, 0, 0, 0, 0, 1, 1]
    clusters = ["a", "a", "b", "b", "c", "c", "d", "e"]
    strata = ["one"] * 6 + ["two"] * 2
    estimate = clustered_mean(values, clusters, strata)
    assert estimate.value == pytest.approx((2 / 6 + 1.0) / 2)
    assert (estimate.n, estimate.clusters, estimate.interval) == (8, 5, "prompt-bootstrap")


def test_stderr_of_equal_prompts_is_that_of_prompt_means() -> None:
    generator = np.random.default_rng(3)
    values = generator.normal(size=(12, 4)) + generator.normal(size=(12, 1))
    clusters = np.repeat(np.arange(12), 4).tolist()
    expected = values.mean(axis=1).std(ddof=1) / math.sqrt(12)
    assert clustered_stderr(values.ravel(), clusters) == pytest.approx(expected, rel=1e-12)


def test_stderr_adds_over_tasks() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.normal(size=20), generator.normal(size=30) * 3
    se_a, se_b = (clustered_stderr(x, list(range(len(x)))) for x in (a, b))
    assert se_a is not None and se_b is not None
    both = clustered_stderr(np.concatenate([a, b]), list(range(50)), ["a"] * 20 + ["b"] * 30)
    assert both == pytest.approx(math.hypot(se_a, se_b) / 2, rel=1e-12)


def test_stderr_of_unequal_prompts_matches_simulation() -> None:
    generator = np.random.default_rng(5)
    sizes = [1, 2, 4, 8] * 10
    clusters = np.repeat(np.arange(40), sizes).tolist()
    means, variances = [], []
    for _ in range(1500):
        effects = np.repeat(generator.normal(size=40), sizes)
        values = effects + generator.normal(size=len(clusters))
        means.append(values.mean())
        stderr = clustered_stderr(values, clusters)
        assert stderr is not None
        variances.append(stderr**2)
    assert np.mean(variances) == pytest.approx(np.var(means), rel=0.10)


def test_correlated_images_count_for_less_than_independent_ones() -> None:
    values = np.repeat(np.random.default_rng(6).integers(0, 2, 100), 4).astype(float)
    clusters = np.repeat(np.arange(100), 4).tolist()
    clustered = clustered_mean(values, clusters)
    independent = clustered_mean(values, list(range(400)))
    assert clustered.stderr is not None and independent.stderr is not None
    assert clustered.stderr == pytest.approx(2 * independent.stderr, rel=0.02)
    assert _width(clustered) == pytest.approx(2 * _width(independent), rel=0.1)


@pytest.mark.parametrize("concentration", [1.0, 1e6])
@pytest.mark.parametrize("images", [[4], [1, 3, 8]])
def test_replicates_have_the_analytic_spread(concentration: float, images: list[int]) -> None:
    # the spread inside prompts is neither dropped nor counted twice, whatever its share
    generator = np.random.default_rng(7)
    values: list[float] = []
    clusters: list[str] = []
    for number in images:
        rows = world(generator, rates=[0.4], prompts=15, images=number, concentration=concentration)
        values += rows[0]
        clusters += [f"{number}-{c}" for c in rows[1]]
    (stratum,) = stratify(values, clusters)
    replicates = _replicate_means(stratum, 0, 20_000)
    stderr = clustered_stderr(values, clusters)
    assert replicates.std() == pytest.approx(stderr, rel=0.04)
    assert replicates.mean() == pytest.approx(stratum.mean, abs=0.1 * replicates.std())


@pytest.mark.parametrize(
    ("prompts", "concentration"), [(12, 1.0), (12, 1e6), (3, 2.0)], ids=["icc", "iid", "few"]
)
def test_interval_covers_the_truth(prompts: int, concentration: float) -> None:
    rates = [0.85, 0.5, 0.4, 0.7, 0.2, 0.3]
    generator = np.random.default_rng(8)
    runs, hits = 400, 0
    for run in range(runs):
        rows = world(generator, rates=rates, prompts=prompts, images=4, concentration=concentration)
        estimate = clustered_mean(*rows, seed=run, replicates=300)
        assert estimate.low is not None and estimate.high is not None
        hits += estimate.low <= float(np.mean(rates)) <= estimate.high
    # the standard error of a coverage of .95 over 400 runs is .011
    assert 0.915 <= hits / runs <= 0.99


def test_result_does_not_depend_on_the_order_of_images() -> None:
    rows = world(np.random.default_rng(9), rates=[0.3, 0.6], prompts=9, images=3, concentration=2.0)
    order = np.random.default_rng(1).permutation(len(rows[0])).tolist()
    shuffled = tuple([column[i] for i in order] for column in rows)
    assert clustered_mean(*rows, seed=5) == clustered_mean(*shuffled, seed=5)


def test_seed_decides_the_draws_and_zero_is_a_seed() -> None:
    rows = world(np.random.default_rng(10), rates=[0.5], prompts=40, images=4, concentration=2.0)
    first, again, other = (clustered_mean(*rows, seed=s) for s in (0, 0, 1))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
    assert first.stderr == other.stderr


def test_a_task_with_one_prompt_gives_no_interval() -> None:
    estimate = clustered_mean([1, 0, 1, 1, 0, 1], ["a", "a", "b", "c", "c", "d"], list("xxxyyy"))
    assert estimate.low is not None
    alone = clustered_mean([1, 0, 1, 1], ["a", "a", "b", "c"], list("xxxy"))
    assert (alone.stderr, alone.low, alone.high, alone.interval) == (None, None, None, "none")
    assert alone.value == pytest.approx((2 / 3 + 1) / 2)


def test_few_prompts_widen_both_ends() -> None:
    few = clustered_mean([-1.0, 0.0, 1.0], ["a", "b", "c"])
    assert few.low is not None and few.high is not None and few.stderr is not None
    # a normal interval would reach 1.96 standard errors, Student's with 2 df 4.30
    assert few.high > 3.0 * few.stderr
    assert few.low < -3.0 * few.stderr


def test_bounds_cut_the_interval() -> None:
    values, clusters = [1.0] * 19 + [0.0], [str(i) for i in range(20)]
    free, cut = clustered_mean(values, clusters), clustered_mean(values, clusters, bounds=(0, 1))
    assert free.high is not None and free.high > 1.0
    assert cut.high == 1.0
    assert cut.low == free.low


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_values_are_refused_by_name(broken: float) -> None:
    with pytest.raises(ValueError, match=r"1 of 3 values .*'second'"):
        clustered_mean([1.0, broken, 0.0], ["first", "second", "third"])


def test_malformed_input_is_refused() -> None:
    with pytest.raises(ValueError, match="stands in tasks"):
        clustered_mean([1.0, 0.0], ["a", "a"], ["x", "y"])
    with pytest.raises(ValueError, match="no values"):
        clustered_mean([], [])
    with pytest.raises(ValueError, match="one prompt and one task per value"):
        clustered_mean([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="replicates"):
        clustered_mean([1.0, 0.0], ["a", "b"], replicates=0)


def test_importing_the_statistics_imports_neither_torch_nor_scipy() -> None:
    code = "import sys, bench.stats; print(sorted({'torch', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _width(estimate: object) -> float:
    low, high = getattr(estimate, "low"), getattr(estimate, "high")  # noqa: B009
    assert low is not None and high is not None
    return float(high - low)
