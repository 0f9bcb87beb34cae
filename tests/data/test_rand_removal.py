"""Rand-removal against its rule (KU-MIIL/DDSPO@f8e47a5:data_prep/random_removal.py)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from bench.api.errors import UsageError
from bench.data.perturbation import PERTURBATIONS
from bench.data.perturbation.rand_removal import TRIALS, pick, rand_removal, variants
from bench.data.perturbation.rule import Immediate
from bench.store import Store


def words(count: int) -> str:
    return " ".join(f"w{i}" for i in range(count))


def is_subsequence(short: list[str], long: list[str]) -> bool:
    rest: Iterator[str] = iter(long)
    return all(word in rest for word in short)


@pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 7, 9, 10, 13, 25, 80])
def test_how_many_go_and_the_rest_stays_in_order(length: int) -> None:
    rng = Random(length)
    prompt = words(length)
    seen = set()
    least, most = max(1, math.floor(0.4 * length)), max(1, math.floor(0.7 * length))
    for _ in range(400):
        left = (rand_removal(prompt, rng) or "").split(" ")
        removed = length - len(left)
        assert least <= removed <= most
        assert is_subsequence(left, prompt.split())
        assert len(set(left)) == len(left)
        seen.add(removed)
    # each count is reached whose stretch of ratios is not empty
    assert seen == {n for n in range(least, most + 1) if n < 0.7 * length or n == 1}


def test_short_prompts_lose_less_than_two_fifths() -> None:
    """The floor: of three words one or two go, so "40 to 70 %" would be a wrong test."""
    rng = Random(0)
    counts = Counter(len((rand_removal("a b c", rng) or "").split()) for _ in range(3000))
    # ratio in [.4, .7]: floor(3 ratio) is 2 from two thirds on, a ninth of the interval
    assert counts[1] / 3000 == pytest.approx(1 / 9, abs=0.02)
    assert set(counts) == {1, 2}


def test_ratios_and_places_are_uniform() -> None:
    rng = Random(1)
    places: Counter[str] = Counter()
    sizes: Counter[int] = Counter()
    trials = 6000
    for _ in range(trials):
        left = (rand_removal(words(10), rng) or "").split()
        sizes[10 - len(left)] += 1
        places.update(left)
    for removed in (4, 5, 6):
        assert sizes[removed] / trials == pytest.approx(1 / 3, abs=0.03)
    for place in range(10):
        assert places[f"w{place}"] / trials == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("prompt", ["", "   ", "word", " word\n"])
def test_a_single_word_has_no_variant(prompt: str) -> None:
    assert rand_removal(prompt, Random(0)) is None
    assert variants(prompt, Random(0)) == ()
    assert pick(prompt, Random(0)) is None


def test_two_words_lose_one() -> None:
    rng = Random(0)
    assert {rand_removal("red circle", rng) for _ in range(50)} == {"red", "circle"}


def test_words_are_split_at_any_white_space_and_joined_by_one() -> None:
    left = rand_removal("a  red\tcircle\n and a, blue square", Random(3))
    assert left is not None
    assert "  " not in left
    assert set(left.split(" ")) <= {"a", "red", "circle", "and", "a,", "blue", "square"}


def test_variants_are_distinct_and_few() -> None:
    assert len(variants("red circle", Random(0))) == 2  # five draws, two outcomes
    for seed in range(50):
        found = variants(words(12), Random(seed))
        assert 1 <= len(found) <= TRIALS
        assert len(set(found)) == len(found)
        assert pick(words(12), Random(seed)) in found


def test_the_same_numbers_give_the_same_text() -> None:
    prompt = "a picture of a red circle above a blue square"
    assert pick(prompt, Random("x")) == pick(prompt, Random("x"))
    assert len({pick(prompt, Random(seed)) for seed in range(20)}) > 10


def test_the_rule_is_registered() -> None:
    rule = PERTURBATIONS["rand-removal"]
    assert isinstance(rule, Immediate)
    text = words(12)
    assert rule.picked({})(text, Random(3)) == pick(text, Random(3))
    assert rule.name == "rand-removal"


@pytest.mark.parametrize(("least", "most"), [(0.1, 0.3), (0.7, 0.9)])
def test_other_shares_are_options_and_enter_the_identity(least: float, most: float) -> None:
    rule = PERTURBATIONS["rand-removal"]
    options = {"least": least, "most": most}
    assert isinstance(rule, Immediate)
    pick_ = rule.picked(options)
    left = [len((pick_(words(20), Random(n)) or "").split()) for n in range(200)]
    assert 20 - max(left) >= math.floor(20 * least) and 20 - min(left) <= math.floor(20 * most)
    assert rule.identity(options) == {**rule.identity({}), **options}
    assert rule.identity({"least": 0.4, "most": 0.7}) == rule.identity({})


def test_shares_that_are_none_are_refused() -> None:
    rule = PERTURBATIONS["rand-removal"]
    for least, most in ((0.5, 0.4), (-0.1, 0.4), (0.4, 1.0)):
        with pytest.raises(UsageError, match="expected shares of the words"):
            rule.identity({"least": least, "most": most})
    with pytest.raises(UsageError, match="leats"):
        rule.identity({"leats": 0.4})


def test_another_prompt_is_any_of_the_others(tmp_path: Path) -> None:
    rule, texts = PERTURBATIONS["other-prompt"], ["a", "b", "c", "b"]
    pick_ = rule.prepare(Store(tmp_path), texts, {}, seed=0)
    drawn = Counter(pick_("a", Random(n)) for n in range(600))
    assert set(drawn) == {"b", "c"} and min(drawn.values()) > 240
    assert rule.prepare(Store(tmp_path), ["a", "a"], {}, seed=0)("a", Random(0)) is None
    with pytest.raises(UsageError, match="has no options"):
        rule.identity({"least": 0.1})
