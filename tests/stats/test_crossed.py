"""The error term of training seeds and prompts: by hand, against the old ones, and its guards."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
import scipy.stats

from bench.api import ProtocolError
from bench.api.estimate import Estimate
from bench.stats import (
    CrossedEstimate,
    assign_blocks,
    clustered_stderr,
    combine,
    crossed_difference,
    crossed_mean,
    crossed_metric,
    crossed_metric_difference,
)

Row = dict[int, dict[str, float]]


def _row(values_SPK: np.ndarray) -> Row:  # noqa: N803
    return {
        s: {f"p{p:03}/{k}": float(v) for p, ks in enumerate(images) for k, v in enumerate(ks)}
        for s, images in enumerate(values_SPK)
    }


def _prompts(row: Row) -> dict[str, str]:
    return {key: key.split("/")[0] for key in row[next(iter(row))]}


def _drawn(seeds: int, seed: int = 0, training: float = 0.3, own: float = 0.2) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.asarray(
        0.1
        + training * generator.normal(size=(seeds, 1, 1))
        + generator.normal(size=(1, 40, 1))
        + own * generator.normal(size=(seeds, 40, 3))
    )


@pytest.mark.parametrize("seeds", [2, 3, 4, 5, 8])
def test_parts_are_those_of_a_two_way_table(seeds: int) -> None:
    drawn = _drawn(seeds)
    row = _row(drawn)
    found = crossed_mean(row, _prompts(row))
    means_SP = drawn.mean(axis=2)  # noqa: N806
    by_seed, by_prompt, mean = means_SP.mean(axis=1), means_SP.mean(axis=0), means_SP.mean()
    left = means_SP - by_seed[:, None] - by_prompt + mean
    v_s, v_p = by_seed.var(ddof=1) / seeds, by_prompt.var(ddof=1) / 40
    v_i = float(np.sum(left**2)) / ((seeds - 1) * 39 * seeds * 40)
    assert found.parts.seeds is not None and found.parts.prompts is not None
    assert found.parts.seeds.variance == pytest.approx(v_s)
    assert found.parts.prompts.variance == pytest.approx(v_p)
    assert found.parts.interaction == pytest.approx(v_i)
    assert (found.n_seeds, found.n_prompts) == (seeds, 40)
    total = v_s + v_p if seeds < 5 else max(v_s, v_p, v_s + v_p - v_i)
    weight = v_s / total
    df = 1.0 / (weight / (seeds - 1) + (1.0 - weight) / 39)
    assert found.stderr == pytest.approx(math.sqrt(total)) and found.df == pytest.approx(df)
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(total)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(mean) / math.sqrt(total), df))


def test_seeds_that_differ_by_their_noise_only_leave_the_prompts_part() -> None:
    # found by search: 5 seeds closer to each other than their own noise makes them on average
    for seed in range(50):
        row = _row(_drawn(5, seed=seed, training=0.0, own=1.0))
        found = crossed_mean(row, _prompts(row))
        assert found.parts.seeds and found.parts.prompts and found.parts.interaction
        if found.parts.seeds.variance < found.parts.interaction:
            assert found.stderr == pytest.approx(math.sqrt(found.parts.prompts.variance))
            assert found.df == found.parts.prompts.df == pytest.approx(39)
            return
    pytest.fail("no such draw")


def test_one_seed_has_the_error_of_its_images() -> None:
    row = _row(_drawn(1))
    prompts = _prompts(row)
    found = crossed_mean(row, prompts)
    expected = clustered_stderr(list(row[0].values()), [prompts[k] for k in row[0]])
    assert found.stderr == pytest.approx(expected)
    assert found.n_seeds == 1 and found.parts.seeds is None and found.parts.interaction is None


def test_tasks_and_unequal_numbers_of_images_are_those_of_the_clustered_error() -> None:
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 6, size=30)
    values = {
        f"p{p}/{k}": float(generator.normal(p % 3)) for p, n in enumerate(sizes) for k in range(n)
    }
    prompts = {key: key.split("/")[0] for key in values}
    tasks = {key: str(int(prompt[1:]) % 3) for key, prompt in prompts.items()}
    found = crossed_mean({0: values}, prompts, tasks)
    expected = clustered_stderr(list(values.values()), list(prompts.values()), list(tasks.values()))
    assert found.stderr == pytest.approx(expected)
    turned = dict(reversed(values.items()))
    assert crossed_mean({0: turned}, prompts, tasks) == found


def test_shared_noise_is_counted_once_and_does_not_shrink_with_seeds() -> None:
    generator = np.random.default_rng(5)
    noise = generator.normal(size=(1, 100, 4))
    base = _row(np.zeros((1, 100, 4)))[0]
    errors = {}
    for seeds in (3, 12):
        a = _row(noise + 0.01 * generator.normal(size=(seeds, 100, 4)))
        found = crossed_difference(a, dict.fromkeys(a, base), _prompts(a))
        errors[seeds] = found.stderr or 0.0
        # over training seeds alone nothing of it is seen
        assert found.parts.seeds and found.parts.seeds.variance < 0.01 * errors[seeds] ** 2
    assert errors[12] == pytest.approx(errors[3], rel=0.02) == pytest.approx(0.05, rel=0.3)


def test_noise_of_its_own_for_each_seed_shrinks_with_seeds() -> None:
    generator = np.random.default_rng(6)
    a, b = (_row(generator.normal(size=(16, 100, 4))) for _ in range(2))
    few = {s: a[s] for s in range(4)}, {s: b[s] for s in range(4)}
    prompts = _prompts(a)
    many = crossed_difference(a, b, prompts).stderr
    assert many == pytest.approx(math.sqrt(2 / 6400), rel=0.35)
    assert (crossed_difference(*few, prompts).stderr or 0.0) > 1.6 * (many or 0.0)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_seeds_that_agree_have_no_interval_of_length_zero(seeds: int) -> None:
    drawn = np.repeat(_drawn(1), seeds, axis=0)
    a, b = _row(drawn + 0.0), _row(np.zeros_like(drawn))
    found = crossed_difference(a, b, _prompts(a))
    assert found.stderr and found.low is not None and found.high is not None
    assert found.high - found.low > 0.1 and found.p
    if found.parts.seeds is not None:
        assert (found.parts.seeds.variance, found.parts.seeds.low) == (0.0, None)


def test_rows_that_agree_on_all_images_hide_a_few_prompts() -> None:
    a = _row(np.ones((3, 50, 4)))
    same = crossed_difference(a, a, _prompts(a), span=1.0)
    assert same.value == 0.0 and same.p == 1.0
    assert same.low == -(same.high or 0.0) and 0.06 < (same.high or 0.0) < 0.1
    # 4 of 50 prompts that differ throughout would be missed in .975 of all cases or less
    assert (same.high or 0.0) > 1 - 0.025 ** (1 / 50)
    unknown = crossed_difference(a, a, _prompts(a))
    assert (unknown.stderr, unknown.low, unknown.p, unknown.df) == (None,) * 4
    assert unknown.detectable() is None


def test_a_single_prompt_that_differs_proves_nothing() -> None:
    drawn = np.zeros((5, 60, 4))
    drawn[:, 7] = 1.0
    a, b = _row(drawn), _row(np.zeros_like(drawn))
    found = crossed_difference(a, b, _prompts(a), span=1.0)
    assert found.p is not None and found.p > 0.3


def test_a_task_of_one_prompt_has_no_error() -> None:
    row = _row(_drawn(3)[:, :1])
    found = crossed_mean(row, _prompts(row))
    assert found.stderr is None and found.low is None
    assert found.parts.seeds is not None and found.parts.prompts is None


def test_bounded_means_stay_within_and_keep_a_length() -> None:
    row = _row(np.ones((1, 50, 4)))
    found = crossed_mean(row, _prompts(row), bounds=(0.0, 1.0))
    assert found.value == found.high == 1.0 and found.low == pytest.approx(0.935, abs=0.01)
    drawn = np.zeros((3, 50, 4))
    drawn[:, 0, 0] = 1.0
    row = _row(drawn)
    found = crossed_mean(row, _prompts(row), bounds=(0.0, 1.0))
    assert found.low is not None and found.high is not None
    assert 0.0 <= found.low < found.value < found.high < 0.06
    assert found.high - found.value > 2 * (found.value - found.low)
    with pytest.raises(ValueError, match="on a scale from 0"):
        crossed_mean(_row(2 * np.ones((1, 5, 2))), _prompts(row), bounds=(0.0, 1.0))


def test_bounded_and_unbounded_agree_in_the_middle() -> None:
    generator = np.random.default_rng(8)
    row = _row((generator.random((6, 200, 4)) < 0.5).astype(float))
    bounded = crossed_mean(row, _prompts(row), bounds=(0.0, 1.0))
    free = crossed_mean(row, _prompts(row))
    assert bounded.stderr == free.stderr and bounded.df == free.df
    assert bounded.low == pytest.approx(free.low, abs=0.002)
    assert bounded.high == pytest.approx(free.high, abs=0.002)


def _metric(images: np.ndarray, prompts: list[str]) -> Estimate:
    """A mean, jackknifed as if it were a metric of the whole set."""
    blocks = assign_blocks(prompts)
    without = [float(images[blocks != j].mean()) for j in range(int(blocks.max()) + 1)]
    sizes = np.bincount(blocks).tolist()
    found = combine(float(images.mean()), without, sizes)
    return Estimate(
        value=found.value, stderr=found.stderr, n=len(images), clusters=len(set(prompts)),
        leave_out=tuple(without), block_sizes=tuple(sizes),
    )  # fmt: skip


def test_metrics_of_sets_have_the_same_error_as_means() -> None:
    drawn_SPK = _drawn(6, own=1.0)  # noqa: N806
    prompts = [f"p{p:03}" for p in range(40) for _ in range(3)]
    metric = {s: _metric(images.ravel(), prompts) for s, images in enumerate(drawn_SPK)}
    one = crossed_metric({0: metric[0]})
    assert one.stderr == pytest.approx(metric[0].stderr) and one.n_prompts == 40
    found = crossed_metric(metric)
    row = _row(drawn_SPK)
    mean = crossed_mean(row, _prompts(row))
    assert found.value == pytest.approx(mean.value)
    assert found.parts.seeds and mean.parts.seeds and mean.parts.interaction
    assert found.parts.seeds.variance == pytest.approx(mean.parts.seeds.variance)
    # 20 blocks in place of 40 prompts
    assert found.stderr == pytest.approx(mean.stderr, rel=0.4)
    assert found.parts.interaction == pytest.approx(mean.parts.interaction, rel=0.4)
    zero = crossed_metric_difference(metric, metric)
    assert (zero.value, zero.stderr, zero.low) == (0.0, None, None)
    less = crossed_metric_difference(metric, dict.fromkeys(metric, metric[0]))
    assert less.value == pytest.approx(found.value - metric[0].value)


def test_metrics_without_blocks_leave_the_seeds_part_only() -> None:
    found = crossed_metric({s: Estimate(value=float(s), n=100) for s in range(3)})
    assert found.stderr is None and found.low is None and found.parts.prompts is None
    assert found.parts.seeds is not None and found.parts.seeds.low is not None


def test_unlike_sides_are_refused_by_name() -> None:
    row = _row(_drawn(2))
    prompts = _prompts(row)
    with pytest.raises(ProtocolError, match=r"unlike training seeds: \[0, 1\] against \[0\]"):
        crossed_difference(row, {0: row[0]}, prompts)
    short = {s: dict(list(images.items())[:-1]) for s, images in row.items()}
    with pytest.raises(ProtocolError, match="p039/2"):
        crossed_difference(row, short, prompts)
    lacking: Mapping[int, Mapping[str, float]] = {
        0: row[0],
        1: {k: v for k, v in row[1].items() if not k.startswith("p000")},
    }
    with pytest.raises(ProtocolError, match="p000"):
        crossed_mean(lacking, prompts)
    blocks = [Estimate(value=1.0, leave_out=(1.0, 1.1), block_sizes=s) for s in ((2, 2), (3, 1))]
    with pytest.raises(ProtocolError, match="same prompts"):
        crossed_metric_difference({0: blocks[0]}, {0: blocks[1]})
    with pytest.raises(ValueError, match="no training seed"):
        crossed_mean({}, prompts)
    with pytest.raises(ValueError, match="p001/1"):
        crossed_mean({0: {**row[0], "p001/1": math.nan}}, prompts)
    with pytest.raises(ValueError, match="no prompt or task"):
        crossed_mean({0: {"q/0": 1.0}}, prompts)


def test_detectable_effects_are_seen_as_often_as_said() -> None:
    generator = np.random.default_rng(9)
    drawn = _drawn(4, seed=1)
    row = _row(drawn)
    found = crossed_mean(row, _prompts(row))
    reach = found.detectable(alpha=0.01, power=0.8)
    assert found.df is not None and found.stderr is not None and reach is not None
    t = scipy.stats.t
    assert reach == pytest.approx((t.ppf(0.995, found.df) + t.ppf(0.8, found.df)) * found.stderr)
    effects = reach + found.stderr * generator.normal(size=4000)
    spread = found.stderr * np.sqrt(generator.chisquare(found.df, 4000) / found.df)
    seen = float(np.mean(effects / spread > t.ppf(0.995, found.df)))
    assert 0.75 < seen < 0.87  # .8 for a normal quotient; the sum of quantiles is an approximation


def test_json_gives_the_same_back() -> None:
    row = _row(_drawn(3))
    for found in (crossed_mean(row, _prompts(row)), crossed_mean({0: row[0]}, _prompts(row))):
        assert CrossedEstimate.from_json(json.loads(json.dumps(found.to_json()))) == found
