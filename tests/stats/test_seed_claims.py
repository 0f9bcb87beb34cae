"""Verdicts: direction, seeds, correction, circular metrics, broken values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from bench.stats import Claim, RowValues, Verdict, judge, paired_p_value

GE = "geneval"
FID = "fid"


def claim(
    better: str = "ddspo",
    worse: str = "dpo",
    column: str = GE,
    *,
    higher: bool = True,
    circular: bool = False,
) -> Claim:
    return Claim(
        better=better, worse=worse, column=column, higher_is_better=higher, circular=circular
    )


def row(*values: float, trained: bool = True) -> RowValues:
    return RowValues(by_seed=dict(enumerate(values)), trained=trained)


def judged(one: Claim, a: RowValues, b: RowValues) -> Verdict:
    return judge([one], {(one.better, one.column): a, (one.worse, one.column): b})[0]


def test_supported_with_effect_interval_and_p() -> None:
    verdict = judged(claim(), row(0.60, 0.62, 0.61), row(0.50, 0.51, 0.52))
    assert verdict.word == "supported"
    assert verdict.effect == pytest.approx(0.1)
    # differences .10 .11 .09: standard error .01 / sqrt(3), t(2) = 4.302653
    assert verdict.low == pytest.approx(0.1 - 4.302653 * 0.01 / math.sqrt(3), abs=1e-6)
    assert verdict.high == pytest.approx(0.1 + 4.302653 * 0.01 / math.sqrt(3), abs=1e-6)
    assert verdict.p == verdict.p_holm == pytest.approx(paired_p_value([0.10, 0.11, 0.09]))
    assert verdict.n_seeds == 3


def test_contradicted_when_the_effect_is_the_other_way() -> None:
    verdict = judged(claim(), row(0.50, 0.51, 0.52), row(0.60, 0.62, 0.61))
    assert verdict.word == "contradicted"
    assert verdict.effect == pytest.approx(-0.1)
    assert "opposite" in verdict.reason


def test_lower_is_better_turns_the_verdict_not_the_effect() -> None:
    low, high = row(20.0, 20.2, 19.9), row(25.0, 25.1, 25.3)
    one = claim(column=FID, higher=False)
    assert judged(one, low, high).word == "supported"
    assert judged(one, low, high).effect == pytest.approx(-5.1)
    assert judged(one, high, low).word == "contradicted"


def test_inconclusive_inside_the_noise() -> None:
    verdict = judged(claim(), row(0.60, 0.50, 0.55), row(0.55, 0.52, 0.53))
    assert verdict.word == "inconclusive"
    assert verdict.p is not None and verdict.p > 0.05
    assert "not below 0.05" in verdict.reason


def test_pairing_by_seed_removes_what_seeds_share() -> None:
    a, b = row(0.51, 0.72, 0.31), row(0.41, 0.61, 0.20)
    assert judged(claim(), a, b).word == "supported"
    unpaired = RowValues(by_seed={0: 0.20, 1: 0.41, 2: 0.61})
    assert judged(claim(), a, unpaired).word == "inconclusive"


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_training_seeds_are_inconclusive(seeds: int) -> None:
    verdict = judged(claim(), row(*[0.9, 0.91][:seeds]), row(*[0.1, 0.12][:seeds]))
    assert verdict.word == "inconclusive"
    assert verdict.p is None and verdict.p_holm is None
    assert verdict.n_seeds == seeds and verdict.effect == pytest.approx(0.8, abs=0.01)
    assert f"{seeds} paired training seed" in verdict.reason and "needs 3" in verdict.reason
    assert (verdict.low is None) == (seeds == 1)


def test_only_common_training_seeds_count() -> None:
    a = RowValues(by_seed={0: 0.9, 1: 0.8, 2: 0.85, 3: 0.9})
    b = RowValues(by_seed={2: 0.1, 3: 0.2, 4: 0.1})
    assert judged(claim(), a, b).n_seeds == 2


def test_base_needs_no_training_seeds() -> None:
    base = row(0.40, trained=False)
    one = claim("ddspo", "base")
    verdict = judged(one, row(0.60, 0.62, 0.61), base)
    assert (verdict.word, verdict.n_seeds) == ("supported", 3)
    assert judged(one, row(0.60, 0.62), base).word == "inconclusive"
    # two rows nothing was trained for cannot support a claim about training, whatever their gap
    many = row(0.1, 0.2, 0.3, 0.15, trained=False)
    verdict = judged(one, many, base)
    assert (verdict.word, verdict.reason) == ("inconclusive", "neither row was trained")


def test_holm_over_the_whole_table() -> None:
    # alone the claim has p = .026; beside nineteen others it does not hold
    a, b = row(0.50, 0.56, 0.53), row(0.45, 0.47, 0.46)
    alone = judged(claim(), a, b)
    assert alone.word == "supported" and alone.p is not None and 0.02 < alone.p < 0.03
    values: dict[tuple[str, str], RowValues] = {("ddspo", GE): a, ("dpo", GE): b}
    others = [claim(column=f"other{i}") for i in range(19)]
    verdict = judge([claim(), *others], values)[0]
    assert verdict.p == alone.p
    assert verdict.p_holm == pytest.approx(min(1.0, 20 * alone.p))
    assert verdict.word == "inconclusive"


def test_missing_cells_are_inconclusive_by_name() -> None:
    verdicts = judge([claim()], {("ddspo", GE): row(0.1, 0.2, 0.3)})
    assert verdicts[0].word == "inconclusive"
    assert verdicts[0].reason == "dpo has no geneval"
    assert verdicts[0].effect is None and verdicts[0].n_seeds == 0


@pytest.mark.parametrize("same", [0.1, 0.0])
def test_identical_differences_are_no_certainty(same: float) -> None:
    verdict = judged(claim(), row(0.3 + same, 0.5 + same, 0.4 + same), row(0.3, 0.5, 0.4))
    assert verdict.word == "inconclusive" and verdict.p is None
    assert "same difference" in verdict.reason


def _two_columns(second_effect: float) -> Mapping[tuple[str, str], RowValues]:
    return {
        ("ddspo", "hpsv2"): row(0.300, 0.301, 0.3005),
        ("dpo", "hpsv2"): row(0.200, 0.2015, 0.2),
        ("ddspo", GE): row(0.500 + second_effect, 0.501 + second_effect, 0.5 + second_effect),
        ("dpo", GE): row(0.500, 0.500, 0.501),
    }


def test_circular_metric_cannot_support_alone() -> None:
    circular, honest = claim(column="hpsv2", circular=True), claim(column=GE)
    alone = judge([circular], _two_columns(0.2))
    assert alone[0].word == "inconclusive"
    assert "hpsv2 is circular" in alone[0].reason
    assert alone[0].p is not None and alone[0].p < 0.001
    backed = judge([circular, honest], _two_columns(0.2))
    assert [v.word for v in backed] == ["supported", "supported"]
    unbacked = judge([circular, honest], _two_columns(0.0))
    assert [v.word for v in unbacked] == ["inconclusive", "inconclusive"]


def test_circular_metrics_do_not_back_each_other_but_can_contradict() -> None:
    both = [claim(column="hpsv2", circular=True), claim(column=GE, circular=True)]
    assert [v.word for v in judge(both, _two_columns(0.2))] == ["inconclusive"] * 2
    swapped = claim("dpo", "ddspo", "hpsv2", circular=True)
    assert judge([swapped], _two_columns(0.2))[0].word == "contradicted"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_values_are_refused_by_name(broken: float) -> None:
    with pytest.raises(ValueError, match=r"row dpo, column geneval, seed 1"):
        judged(claim(), row(0.1, 0.2, 0.3), row(0.1, broken, 0.3))


def test_false_support_is_as_rare_as_announced() -> None:
    generator = np.random.default_rng(4)
    wrong = 0
    for _ in range(1500):
        columns = [f"c{i}" for i in range(4)]
        values = {
            (name, column): row(*generator.normal(0.5, 0.02, 3).tolist())
            for name in ("ddspo", "dpo")
            for column in columns
        }
        verdicts = judge([claim(column=c) for c in columns], values)
        wrong += any(v.word != "inconclusive" for v in verdicts)
    # family-wise error .05, standard error .0056; uncorrected it would be .185
    assert wrong / 1500 < 0.07
