"""Verdicts by the error term of seeds and prompts: direction, seeds, families, circular metrics."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.stats.claims import Claim, Verdict, judge
from bench.stats.crossed import CrossedEstimate, Part, Parts
from bench.stats.student import two_sided_p

GE = "geneval"


def claim(
    better: str = "ddspo",
    worse: str = "dpo",
    column: str = GE,
    *,
    higher: bool = True,
    circular: bool = False,
    planned: bool = False,
) -> Claim:
    return Claim(
        better=better, worse=worse, column=column, higher_is_better=higher, circular=circular,
        planned=planned,
    )  # fmt: skip


def effect(value: float, *, df: float = 20.0, n_seeds: int = 5) -> CrossedEstimate:
    """A difference with a standard error of 1."""
    parts = Parts(prompts=Part(variance=1.0, df=df, low=value - 2.0, high=value + 2.0))
    return CrossedEstimate(
        value=value, stderr=1.0, low=value - 2.0, high=value + 2.0, df=df, n_seeds=n_seeds,
        n_prompts=100, parts=parts,
    )  # fmt: skip


def words(verdicts: list[Verdict]) -> list[str]:
    return [v.word for v in verdicts]


def test_direction_is_that_of_the_column() -> None:
    up, down = effect(4.0), effect(-4.0)
    lower = claim(column="fid", higher=False)
    found = judge([claim(), claim(), lower, lower], [up, down, up, down])
    assert words(found) == ["supported", "contradicted", "contradicted", "supported"]
    assert "opposite" in found[1].reason and found[3].effect is down
    assert found[0].p == pytest.approx(two_sided_p(4.0, 20.0))
    assert (found[0].low, found[0].high, found[0].df, found[0].n_seeds) == (2.0, 6.0, 20.0, 5)


def test_inconclusive_says_what_it_could_have_seen() -> None:
    found = judge([claim()], [effect(1.0)])[0]
    assert found.word == "inconclusive" and found.detectable == pytest.approx(
        2.086 + 0.860, abs=1e-3
    )
    assert (
        found.reason
        == "corrected p = 0.329, not below 0.05; it could have seen an effect of 2.9 or more"
    )


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(seeds: int) -> None:
    found = judge([claim()], [effect(50.0, n_seeds=seeds)])[0]
    assert found.word == "inconclusive" and found.p is None and found.p_holm is None
    assert found.reason.startswith(f"{seeds} paired training seed")
    assert "needs 3" in found.reason and "effect of 2.9 or more" in found.reason
    assert found.effect is not None and found.n_seeds == seeds


def test_no_spread_is_no_certainty() -> None:
    flat = CrossedEstimate(value=0.1, n_seeds=3, n_prompts=50)
    found = judge([claim()], [flat])[0]
    assert (found.word, found.p, found.detectable) == ("inconclusive", None, None)
    assert "no spread" in found.reason


def test_what_was_not_paired_is_named_and_counts_in_the_family() -> None:
    absent = "dpo has no hpsv2"
    found = judge([claim(), claim(column="hpsv2")], [effect(2.2), absent])
    assert found[1].reason == absent and found[1].alpha is None and found[1].effect is None
    assert found[0].p_holm == pytest.approx(2 * two_sided_p(2.2, 20.0))
    assert words(found) == ["inconclusive"] * 2
    assert words(judge([claim()], [effect(2.2)])) == ["supported"]


def test_holm_and_the_level_it_came_to() -> None:
    values = [2.2, 4.0, 3.0]
    found = judge([claim(column=str(v)) for v in values], [effect(v) for v in values])
    assert [v.alpha for v in found] == pytest.approx([0.05, 0.05 / 3, 0.025])
    p = [two_sided_p(v, 20.0) for v in values]
    assert [v.p_holm for v in found] == pytest.approx([p[0], 3 * p[1], 2 * p[2]])
    assert words(found) == ["supported"] * 3
    assert all(v.family == "other" for v in found)


def test_planned_claims_are_tested_in_order_without_correction() -> None:
    four = [claim(column=str(i), planned=True) for i in range(4)]
    found = judge(four, [effect(v) for v in (2.2, 3.0, 1.0, 9.0)])
    assert words(found) == ["supported", "supported", "inconclusive", "inconclusive"]
    assert [v.alpha for v in found] == [0.05] * 4
    p = [two_sided_p(v, 20.0) for v in (2.2, 3.0, 1.0)]
    # the largest so far; past the first failure nothing is tested, whatever its own p
    assert [v.p_holm for v in found] == pytest.approx([p[0], p[0], p[2], 1.0])
    assert (
        found[3].reason == f"not tested: the planned claim before it ({four[2]}) was not supported"
    )
    assert found[3].p is not None and found[3].p < 1e-6


@pytest.mark.parametrize("first", ["other way", "untested", "two seeds"])
def test_whatever_is_not_supported_ends_the_order(first: str) -> None:
    stops = {"other way": effect(-9.0), "untested": "no cells", "two seeds": effect(9.0, n_seeds=2)}
    found = judge(
        [claim(planned=True), claim(column="b", planned=True)], [stops[first], effect(9.0)]
    )
    assert found[0].word == ("contradicted" if first == "other way" else "inconclusive")
    assert found[1].word == "inconclusive" and "not tested" in found[1].reason


def test_planned_and_other_claims_are_two_families() -> None:
    claims = [claim(column="a"), claim(column="b", planned=True), claim(column="c")]
    found = judge(claims, [effect(2.5), effect(2.2), effect(2.5)])
    assert [v.family for v in found] == ["other", "planned", "other"]
    assert words(found) == ["supported"] * 3  # .021 doubled is below .05; tripled it would not be
    failed = judge(claims, [effect(2.5), effect(0.0), effect(2.5)])
    assert words(failed) == ["supported", "inconclusive", "supported"]


def test_circular_metric_cannot_support_alone() -> None:
    circular, honest = claim(column="hpsv2", circular=True), claim()
    strong = effect(9.0)
    alone = judge([circular], [strong])[0]
    assert alone.word == "inconclusive" and "hpsv2 is circular" in alone.reason
    assert words(judge([circular, honest], [strong, strong])) == ["supported"] * 2
    assert words(judge([circular, honest], [strong, effect(0.0)])) == ["inconclusive"] * 2
    assert words(judge([circular], [effect(-9.0)])) == ["contradicted"]
    # it does not bar the order of planned claims: the test itself was passed
    planned = [replace(circular, planned=True), replace(honest, planned=True)]
    assert words(judge(planned, [strong, strong])) == ["supported"] * 2


def test_one_effect_for_each_claim() -> None:
    with pytest.raises(ValueError, match="shorter"):
        judge([claim(), claim()], [effect(1.0)])
    assert judge([], []) == []


def test_json_gives_the_same_back() -> None:
    for found in judge([claim(), claim(column="b")], [effect(4.0), "no cells"]):
        assert Verdict.from_json(json.loads(json.dumps(found.to_json()))) == found
