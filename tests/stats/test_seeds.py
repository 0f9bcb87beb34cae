"""Intervals over training seeds, and both kinds of interval side by side."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from bench.api import ProtocolError
from bench.stats import (
    RowValues,
    holm,
    over_seeds,
    paired_over_seeds,
    paired_p_value,
    paired_summary,
    seed_differences,
)


def test_interval_by_hand() -> None:
    found = over_seeds({0: 1.0, 1: 2.0, 2: 3.0})
    # mean 2, standard deviation 1, t(2) at 97.5 % = 4.302653
    assert found.value == 2.0 and found.n_seeds == 3
    assert found.stderr == pytest.approx(1 / math.sqrt(3))
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-6)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-6)


def test_one_seed_gives_no_interval_and_none_is_refused() -> None:
    alone = over_seeds({7: 0.25})
    assert (alone.value, alone.stderr, alone.low, alone.high, alone.n_seeds) == (
        0.25,
        None,
        None,
        None,
        1,
    )
    with pytest.raises(ValueError, match="no training seed"):
        over_seeds({})
    with pytest.raises(ValueError, match="seed 4: the value is nan"):
        over_seeds({3: 1.0, 4: math.nan})


def test_coverage_with_three_seeds() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        found = over_seeds(dict(enumerate(generator.normal(0.4, 0.03, 3).tolist())))
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.4 <= found.high
    # a normal interval would cover .82 of the time here
    assert 0.935 <= hits / 2000 <= 0.965


def test_p_value_is_that_of_scipy_paired_t_test() -> None:
    generator = np.random.default_rng(1)
    for n in (2, 3, 5, 10):
        a, b = generator.normal(size=n), generator.normal(size=n)
        expected = float(scipy.stats.ttest_rel(a, b).pvalue)
        assert paired_p_value((a - b).tolist()) == pytest.approx(expected, rel=1e-9)


def test_p_value_needs_spread() -> None:
    with pytest.raises(ValueError, match="two differences"):
        paired_p_value([0.1])
    for same in ([0.2] * 3, [0.0] * 3, [0.3, 0.1 + 0.2, 0.3]):
        with pytest.raises(ValueError, match="no spread"):
            paired_p_value(same)


def test_trained_rows_are_paired_by_seed() -> None:
    a = RowValues(by_seed={0: 0.5, 1: 0.9, 2: 0.7})
    b = RowValues(by_seed={2: 0.6, 1: 0.8, 0: 0.3})
    differences = seed_differences(a, b)
    assert list(differences) == [0, 1, 2]
    assert list(differences.values()) == pytest.approx([0.2, 0.1, 0.1])
    assert paired_over_seeds(a, b).value == pytest.approx(0.4 / 3)


def test_base_is_a_constant_per_sampling_seed() -> None:
    trained = RowValues(by_seed={0: 0.5, 1: 0.6, 2: 0.8})
    once = RowValues(by_seed={0: 0.4}, trained=False)
    each = RowValues(by_seed={0: 0.4, 1: 0.3, 2: 0.5, 3: 0.9}, trained=False)
    assert list(seed_differences(trained, once).values()) == pytest.approx([0.1, 0.2, 0.4])
    assert list(seed_differences(once, trained).values()) == pytest.approx([-0.1, -0.2, -0.4])
    assert list(seed_differences(trained, each).values()) == pytest.approx([0.1, 0.3, 0.3])
    assert paired_over_seeds(trained, once).n_seeds == 3
    assert seed_differences(once, each) == {}


def test_a_trained_row_is_never_taken_for_a_constant() -> None:
    many = RowValues(by_seed={0: 0.5, 1: 0.6, 2: 0.8})
    one = RowValues(by_seed={0: 0.4})
    assert seed_differences(many, one) == {0: pytest.approx(0.1)}
    with pytest.raises(ProtocolError, match=r"\[1, 2\]"):
        paired_over_seeds(many, one)
    base = RowValues(by_seed={0: 0.4}, trained=False)
    with pytest.raises(ProtocolError, match="neither row was trained"):
        paired_over_seeds(base, base)


def _images(effect: float, seeds: int, noise: float) -> dict[int, dict[str, float]]:
    generator = np.random.default_rng(2)
    prompt = generator.normal(size=30)
    rows = {}
    for seed in range(seeds):
        drawn = prompt.repeat(4) + effect + noise * generator.normal()
        drawn = drawn + 0.1 * generator.normal(size=120)
        rows[seed] = {f"p{i // 4}/{i % 4}": float(v) for i, v in enumerate(drawn)}
    return rows


def test_summary_keeps_the_two_intervals_apart() -> None:
    a, b = _images(0.5, 3, noise=0.4), _images(0.0, 3, noise=0.0)
    clusters = {key: key.split("/")[0] for key in a[0]}
    found = paired_summary(a, b, clusters)
    assert found.over_seeds.value == pytest.approx(found.given_checkpoints.value)
    assert found.over_seeds.n_seeds == 3
    assert (found.given_checkpoints.n, found.given_checkpoints.clusters) == (120, 30)
    # the spread of training is in the first only, and it dwarfs that of the prompts
    seeds, images = found.over_seeds.stderr, found.given_checkpoints.stderr
    assert seeds is not None and images is not None and seeds > 5 * images


def test_summary_weighs_tasks_equally_and_pairs_a_base_with_every_seed() -> None:
    a = {0: {"p/0": 1.0, "q/0": 0.0, "r/0": 0.0}, 1: {"p/0": 3.0, "q/0": 0.0, "r/0": 2.0}}
    base = {"p/0": 1.0, "q/0": 1.0, "r/0": 1.0}
    clusters = {key: key[0] for key in base}
    strata = {"p/0": "x", "q/0": "y", "r/0": "y"}
    found = paired_summary(a, base, clusters, strata)
    # seed 0: (0 + (-1 - 1) / 2) / 2 = -.5; seed 1: (2 + (-1 + 1) / 2) / 2 = 1
    assert found.over_seeds.value == pytest.approx(0.25)
    assert found.given_checkpoints.value == pytest.approx(0.25)
    assert found.over_seeds.stderr == pytest.approx(0.75)


def test_summary_refuses_unlike_protocols() -> None:
    a, b = _images(0.5, 3, noise=0.1), _images(0.0, 3, noise=0.1)
    clusters = {key: key.split("/")[0] for key in a[0]}
    with pytest.raises(ProtocolError, match=r"unlike training seeds: \[0, 1, 2\] against \[0, 1\]"):
        paired_summary(a, {s: b[s] for s in (0, 1)}, clusters)
    lacking = {s: {k: v for k, v in b[s].items() if s != 1 or k != "p7/2"} for s in b}
    with pytest.raises(ProtocolError, match="p7/2"):
        paired_summary(a, lacking, clusters)
    with pytest.raises(ProtocolError, match="p7/2"):
        paired_summary(lacking, lacking, clusters)
    with pytest.raises(ValueError, match="no prompt or task"):
        paired_summary(a, b, {})


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, made monotone
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_counts_untested_claims() -> None:
    assert holm([0.01, None, 0.02]) == [pytest.approx(0.03), None, pytest.approx(0.04)]


def test_holm_is_between_uncorrected_and_bonferroni() -> None:
    p = np.random.default_rng(3).uniform(0, 0.2, 12)
    adjusted = np.array(holm(p.tolist()), dtype=float)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, 12 * p)).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert (adjusted < np.minimum(1, 12 * p)).any()


@pytest.mark.parametrize("broken", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_p_value(broken: float) -> None:
    with pytest.raises(ValueError, match="p-value 1"):
        holm([0.5, broken])
