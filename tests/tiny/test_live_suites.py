"""Protocol 2's suites: what is in them, how often it is asked, and what must not be in them."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.api.prompts import PromptSuite
from bench.report.words import _images_line
from bench.spec.methods import training_plan
from bench.spec.profile import load_profile, profile_names
from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.store import Store
from bench.tiny import live_suites
from bench.tiny.grammar import to_text
from bench.tiny.live_suites import (
    GENEVAL_LIVE,
    LIVE_SUITES_VERSION,
    compbench_tiny_hard,
    compbench_tiny_live,
    geneval_tiny_hard,
    geneval_tiny_live,
    is_hard,
)
from bench.tiny.suites import (
    GENEVAL_TASKS,
    _geneval_draw,
    captions_tiny,
    meaning_of,
    pair_prompts_tiny,
    split_of,
)
from bench.tiny.world import WORLD_VERSION
from bench.training.beta import kappa_from_beta_half_mean

SPLITS = ("validation", "test")
EFFICIENT = ("ddspo-not-paired", "ddspo-rand-positive", "ddspo-one-image", "ddspo-efficient")
GOLDEN = {
    "geneval-tiny-live-validation": "b1f24eb688e8ed95",
    "geneval-tiny-hard-validation": "c5348105a83fffba",
    "compbench-tiny-live-validation": "623d8cd294af55f6",
    "compbench-plus-tiny-live-validation": "52cdc5f5bc3291d2",
    "compbench-tiny-hard-validation": "98f433501feb95dd",
    "compbench-plus-tiny-hard-validation": "931b8be8a57fa380",
    "geneval-tiny-live-test": "6e53870334825d5d",
    "geneval-tiny-hard-test": "a6b78e70ab32c345",
    "compbench-tiny-live-test": "27682f394e374742",
    "compbench-plus-tiny-live-test": "31e4ebd4360bb830",
    "compbench-tiny-hard-test": "4da6e8f7c38f6448",
    "compbench-plus-tiny-hard-test": "192b4a0ebc939159",
}


def _suites(split: str) -> list[PromptSuite]:
    made = [make(split) for make in (geneval_tiny_live, geneval_tiny_hard)]
    for make in (compbench_tiny_live, compbench_tiny_hard):
        made += [make(split), make(split, plus=True)]
    return made


def test_the_suites_are_those_of_this_version() -> None:
    assert (WORLD_VERSION, LIVE_SUITES_VERSION) == (1, 1)
    seen = {s.name: s.sha256[:16] for split in SPLITS for s in _suites(split)}
    assert seen == GOLDEN, "bump LIVE_SUITES_VERSION"


@pytest.mark.parametrize("split", SPLITS)
def test_live_suites_hold_no_hard_prompt_and_hard_ones_nothing_else(split: str) -> None:
    for suite in _suites(split):
        assert {is_hard(meaning_of(p)) for p in suite} == {"-hard-" in suite.name}


@pytest.mark.parametrize("split", SPLITS)
def test_every_prompt_is_of_its_split_alone(split: str) -> None:
    trained = {p.text for p in pair_prompts_tiny(2048)}
    other = {p.text for s in SPLITS if s != split for suite in _suites(s) for p in suite}
    other |= {p.text for s in SPLITS if s != split for p in captions_tiny(s)}
    for suite in _suites(split):
        texts = [p.text for p in suite]
        assert all(split_of(text) == split for text in texts)
        assert not {*texts} & trained
        assert not {*texts} & other
        for tag in suite.tags:
            of_tag = [p.text for p in suite if p.tag == tag]
            assert len({*of_tag}) == len(of_tag)
        if split != "test":
            assert not any(p.meta["held_out"] for p in suite)


def test_every_task_has_at_least_216_images_a_seed() -> None:
    asked = load_profile("tiny").protocols["test"]["geneval"]
    suite = asked.suite.load()
    images = Counter(p.tag for p, _ in suite.images(asked.images_per_prompt))
    assert set(images) == set(GENEVAL_TASKS)
    assert min(images.values()) >= 216
    prompts = Counter(p.tag for p in suite)
    assert {t for t in prompts if prompts[t] != 54} == {"single_object", "position"}


def test_validation_has_at_least_240_prompts_and_categories_are_of_one_size() -> None:
    assert len(geneval_tiny_live("validation")) >= 240
    for split in SPLITS:
        for suite in _suites(split):
            if "compbench" in suite.name:
                assert len(set(Counter(p.tag for p in suite).values())) == 1


def test_single_objects_and_positions_are_all_that_the_grammar_can_draw() -> None:
    for task in live_suites._FEW:
        rng = np.random.default_rng(0)
        draw = _geneval_draw(task)
        drawn = {to_text(m) for m in (draw(rng) for _ in range(12_000)) if not is_hard(m)}
        for split in SPLITS:
            found = {p.text for p in geneval_tiny_live(split) if p.tag == task}
            assert found == {text for text in drawn if split_of(text) == split}
        assert len(found) < GENEVAL_LIVE["test"]


def test_the_profile_keeps_all_modes_in_caption_suites_and_names_one_scale() -> None:
    profile, second = load_profile("tiny"), load_profile("tiny-sd")
    for protocol in ("test", "validation"):
        captions = profile.protocols[protocol]["fid"]
        for name in ("inception-score", "kid", "hpsv2", "pickscore"):
            assert profile.protocols[protocol][name] == captions
        assert captions.suite.load().name == captions_tiny(protocol).name
    assert any(is_hard(meaning_of(p)) for p in captions_tiny("test") if p.meta["meaning"]["nouns"])
    assert profile.noise == "per-seed"
    assert set(profile.generation) == {"cfg_scale"}
    assert (second.pairs, second.training) == (profile.pairs, profile.training)
    assert second.protocols == profile.protocols


def test_protocols_share_no_prompt_where_they_must_not() -> None:
    protocols = load_profile("tiny").protocols
    for one, other in combinations(("test", "validation", "scale"), 2):
        if {one, other} == {"validation", "scale"}:
            continue
        for name in set(protocols[one]) & set(protocols[other]):
            a, b = ({p.text for p in protocols[x][name].suite.load()} for x in (one, other))
            assert not a & b, (one, other, name)


def test_the_profile_samples_at_the_scale_that_the_rule_chose() -> None:
    file = Path(__file__).parents[2] / "results" / "scales.json"
    if not file.is_file():
        pytest.skip("the rule has not been run on the shipped bases")
    for name in profile_names():
        profile = load_profile(name)
        found = json.loads(file.read_text()).get(profile.checkpoint.location)
        if "scale" in profile.protocols and found is not None:
            assert profile.generation == {"cfg_scale": found["rule"]["chosen"]}


def test_a_protocol_says_which_tasks_are_asked_more_often(tmp_path: Path) -> None:
    said = {"images_per_prompt": 4, "times": {"single_object": 2, "position": 3}}
    assert _images_line(said) == "images per prompt: 4; single_object 8, position 12"
    assert _images_line({"images_per_prompt": 4}) == "images per prompt: 4"
    request = make_request("1a", "tiny", rows=["base"], columns=["GE"])
    (cell,) = build_graph(request, Store(tmp_path)).cells
    assert cell.protocol["times"] == {"single_object": 2, "position": 3}
    assert cell.protocol["noise"] == "per-seed"


def test_the_profile_trains_by_what_the_sweep_chose() -> None:
    profile = load_profile("tiny")
    file = Path(__file__).parents[2] / "results" / "sweeps" / "tiny-2-own" / "points.json"
    for method, found in json.loads(file.read_text())["methods"].items():
        (stage,) = training_plan(profile, method, 0).stages
        train, chosen = stage.train, found["chosen"]
        assert (train.lr, train.steps) == (chosen["train"]["lr"], chosen["train"]["steps"])
        assert (train.batch, train.micro_batch) == (16, 16)
        if "method" in chosen:
            beta = float(chosen["method"]["beta_half_mean"])
            assert stage.method.config()["kappa"] == kappa_from_beta_half_mean(beta)
    small = json.loads((file.parents[1] / "tiny-2-small" / "points.json").read_text())
    (stage,) = training_plan(profile, "sft", 0, "sft-truth-small").stages
    chosen = small["methods"]["sft-truth-small"]["chosen"]["train"]
    assert (stage.train.steps, stage.train.batch) == (chosen["steps"], 16)
    family = {training_plan(profile, m, 0).stages[0].train.lr for m in EFFICIENT}
    assert len(family) == 1  # a comparison within it is of one setting
