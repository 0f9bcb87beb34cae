"""The world is decided once: its pictures, texts and suites are pinned by hashes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.tiny import suites
from bench.tiny.detect import find
from bench.tiny.grammar import to_text, vocabulary, with_wrong_word
from bench.tiny.render import render
from bench.tiny.scenes import WRONG_WORD_SHARE, related, scene_for, training_scene
from bench.tiny.world import (
    HELD_OUT,
    SIZE_BOUNDARY,
    WORLD_VERSION,
    Description,
    Noun,
    Scene,
    Thing,
)

GOLDEN = {
    # version of the world -> (first 200 training examples, the suites)
    1: (
        "152b3f8c0b138971",
        {
            "geneval-tiny-validation": "0a38bf9e0b999fac",
            "geneval-tiny-test": "fe0f9c9c6c9a34be",
            "compbench-tiny-validation": "7199a9297efa79c4",
            "compbench-tiny-test": "b2fb74b1e31f9911",
            "captions-tiny-validation": "faf34c0a86c6ea5d",
            "captions-tiny-test": "9c860ba7d54961ab",
            "pairs-tiny-512": "3235cd3e600d0450",
        },
    )
}


def _all_suites() -> list[suites.PromptSuite]:
    made = [
        make(split)
        for make in (suites.geneval_tiny, suites.compbench_tiny, suites.captions_tiny)
        for split in ("validation", "test")
    ]
    return [*made, suites.pair_prompts_tiny(512)]


def test_the_training_examples_are_those_of_this_version() -> None:
    digest = hashlib.sha256()
    for i in range(200):
        scene, text, caption = training_scene(i, 0)
        digest.update(render(scene).tobytes() + text.encode() + caption.encode())
    assert digest.hexdigest()[:16] == GOLDEN[WORLD_VERSION][0], "bump WORLD_VERSION"


def test_the_suites_are_those_of_this_version() -> None:
    seen = {s.name: s.sha256[:16] for s in _all_suites()}
    assert seen == GOLDEN[WORLD_VERSION][1], "bump WORLD_VERSION or SUITES_VERSION"


def test_no_text_is_in_two_splits_and_held_out_pairs_are_only_tested() -> None:
    texts: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for suite in _all_suites():
        split = suite.name.rsplit("-", 1)[1] if "pairs" not in suite.name else "train"
        texts[split] |= {p.text for p in suite}
        if split != "test":
            assert not any(p.meta["held_out"] for p in suite)
    assert not texts["train"] & texts["validation"]
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]
    tested = suites.geneval_tiny("test")
    assert sum(p.meta["held_out"] for p in tested) >= 5


def test_every_geneval_task_has_enough_distinct_texts() -> None:
    suite = suites.geneval_tiny("test")
    for task in suites.GENEVAL_TASKS:
        assert len({p.text for p in suite if p.tag == task}) >= 24
    assert len(suite) * 4 >= 1200


def test_training_scenes_never_hold_a_held_out_pair() -> None:
    for i in range(1500):
        scene, _, _ = training_scene(i, 9)
        assert not {(t.color, t.shape) for t in scene.things} & set(HELD_OUT)


def test_caption_errors_have_the_stated_rate_and_change_one_word() -> None:
    wrong = 0
    for i in range(2000):
        _, text, caption = training_scene(i, 4)
        if text != caption:
            wrong += 1
            pairs = zip(text.split(" "), caption.split(" "), strict=True)
            assert sum(a != b for a, b in pairs) == 1
    # signs without a content word cannot be wrong
    assert wrong / 2000 == pytest.approx(WRONG_WORD_SHARE, abs=0.035)


def test_scenes_fit_what_is_said() -> None:
    rng = np.random.default_rng(0)
    for relation in ("left of", "right of", "above", "below"):
        said = Description(
            nouns=(Noun(shape="circle", size="small"), Noun(shape="square", color="red")),
            relation=relation,
        )
        scene = scene_for(said, rng)
        assert related(relation, scene.things[0], scene.things[1])
        assert scene.things[0].radius < SIZE_BOUNDARY
        assert scene.things[1].color == "red"
    assert len(scene_for(Description(nouns=(Noun(shape="cross", count=4),)), rng).things) == 4


def test_a_wrong_word_is_of_the_same_class() -> None:
    rng = np.random.default_rng(1)
    seen = {with_wrong_word("a red circle", rng) for _ in range(200)}
    assert "a red circle" not in seen
    assert "a blue circle" in seen
    assert "a red square" in seen
    assert all(set(t.split()) <= set(vocabulary()) for t in seen)


def test_texts_say_everything_that_is_meant() -> None:
    said = Description(
        nouns=(Noun(shape="circle", color="red", fill="striped", size="small"),
               Noun(shape="square", count=3)),
        relation="left of", night=True, quality="clean",
    )  # fmt: skip
    expected = "a clean picture of a small striped red circle left of three squares at night"
    assert to_text(said) == expected


def test_the_detector_reads_plain_renders_back() -> None:
    right = total = 0
    for i in range(400):
        scene, _, _ = training_scene(i, 3)
        if scene.letters or scene.blur > 0.7 or scene.noise > 12 or scene.style == "sketch":
            continue
        total += 1
        seen = sorted((f.shape, f.color) for f in find(render(scene)) if f.overlap >= 0.6)
        right += seen == sorted((t.shape, t.color) for t in scene.things)
    assert total > 250
    assert right / total > 0.98


def test_the_detector_sees_nothing_on_an_empty_ground_and_boxes_are_tight() -> None:
    assert find(render(Scene())) == []
    thing = Thing(shape="square", color="blue", x=16.0, y=12.0, radius=6.0)
    (found,) = find(render(Scene(things=(thing,))))
    assert (found.shape, found.color) == ("square", "blue")
    assert found.box == pytest.approx((10.6, 6.6, 21.4, 17.4), abs=0.35)


def test_a_degraded_picture_differs_from_its_clean_version() -> None:
    thing = Thing(shape="circle", color="red", x=16.0, y=16.0, radius=7.0)
    clean = render(Scene(things=(thing,))).astype(int)
    for worse in ({"blur": 1.2}, {"noise": 20.0}, {"wash": 0.5}):
        changed = render(Scene(things=(thing,), **worse)).astype(int)
        assert np.abs(changed - clean).mean() > 1.5, worse
