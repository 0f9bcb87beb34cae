"""Controls: one-sided, Holm over the table, and what cannot be tested."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from bench.stats.controls import Control, ControlResult, Shows, judge_controls, p_of_better
from bench.stats.crossed import CrossedEstimate
from bench.stats.student import two_sided_p
from tests.stats.test_claims import effect


def control(
    shows: Shows, column: str = "GE", *, higher: bool = True, trained: bool = True
) -> Control:
    return Control(
        row=shows, column=column, shows=shows, higher_is_better=higher, trained=trained
    )  # fmt: skip


def words(found: Sequence[ControlResult]) -> list[str]:
    return [result.word for result in found]


def test_one_that_must_improve_passes_where_it_is_better_and_a_null_fails_there() -> None:
    for value, expected in ((4.0, ["passed", "failed"]), (0.5, ["failed", "passed"])):
        found = judge_controls([control("improves"), control("null")], [effect(value)] * 2)
        assert words(found) == expected
    lower = [control("improves", "FID", higher=False), control("null", "FID", higher=False)]
    assert words(judge_controls(lower, [effect(-4.0)] * 2)) == ["passed", "failed"]
    assert words(judge_controls(lower, [effect(4.0)] * 2)) == ["failed", "passed"]


def test_a_null_may_lose_whatever_it_loses() -> None:
    """One-sided: a loss is drift, and is printed; no test turns on it."""
    (found,) = judge_controls([control("null")], [effect(-9.0)])
    assert found.word == "passed" and found.p == pytest.approx(1.0)


def test_all_controls_are_one_family() -> None:
    value = 2.0  # one-sided .03: enough alone, too little among four
    p = two_sided_p(value, 20.0) / 2.0
    alone = judge_controls([control("improves")], [effect(value)])[0]
    assert alone.p == pytest.approx(p) and p < 0.05 < 4 * p and alone.word == "passed"
    family = [
        control("improves"),
        control("improves", "CB"),
        control("null"),
        control("null", "CB"),
    ]
    found = judge_controls(family, [effect(value)] * 4)
    assert found[0].p_holm == pytest.approx(4 * p)
    assert words(found) == ["failed", "failed", "passed", "passed"]
    # what was not measured counts too: its absence makes nothing easier
    found = judge_controls(family, [effect(value), "no cells", "no cells", "no cells"])
    assert found[0].p_holm == pytest.approx(4 * p)
    assert words(found) == ["failed", *["undecided"] * 3] and found[1].reason == "no cells"


@pytest.mark.parametrize("seeds", [1, 2])
def test_trained_controls_need_three_seeds(seeds: int) -> None:
    (found,) = judge_controls([control("improves")], [effect(50.0, n_seeds=seeds)])
    assert found.word == "undecided" and found.p is None and "a test needs 3" in found.reason
    again = control("null", trained=False)  # A against A has no training in it
    assert words(judge_controls([again], [effect(0.1, n_seeds=1)])) == ["passed"]
    assert words(judge_controls([again], [effect(9.0, n_seeds=1)])) == ["failed"]


def test_rows_that_agree_on_everything_are_not_better() -> None:
    same = CrossedEstimate(value=0.0, n_seeds=3, n_prompts=50)
    assert words(judge_controls([control("null")], [same])) == ["passed"]
    assert words(judge_controls([control("improves")], [same])) == ["failed"]
    flat = CrossedEstimate(value=0.1, n_seeds=3, n_prompts=50)
    assert p_of_better(flat, higher_is_better=True) is None
    assert words(judge_controls([control("null")], [flat])) == ["undecided"]


def test_json_gives_the_same_back() -> None:
    for found in judge_controls([control("null"), control("null", "CB")], [effect(1.0), "none"]):
        assert ControlResult.from_json(json.loads(json.dumps(found.to_json()))) == found
