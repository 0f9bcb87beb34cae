"""T2I-CompBench++ in the tiny world: numeracy is measured; depth the world does not have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api import ImageRecord, ImageSet, Predictions, Prompt, PromptSuite
from bench.cli import main
from bench.spec.profile import load_profile
from bench.steps.images import NotExpressibleError
from bench.steps.predictions import needed_roles
from bench.tiny.plus_suites import NUMERACY, compbench_plus_tiny
from bench.tiny.render import render
from bench.tiny.scenes import scene_for
from bench.tiny.suites import compbench_tiny, meaning_of, split_of
from bench.tiny.world import PLURALS, SHAPES
from evaluators.compbench.numeracy import asked_counts
from evaluators.compbench.plus import DEPTH, DETECTOR_R50, CompBenchPlus
from evaluators.models.tiny_detector import TinyDetector


def numeracy(split: str = "test") -> tuple[Prompt, ...]:
    return tuple(p for p in compbench_plus_tiny(split) if p.tag == NUMERACY)


@pytest.mark.parametrize(("split", "each"), [("validation", 12), ("test", 24)])
def test_the_suite_is_the_six_categories_and_numeracy(split: str, each: int) -> None:
    suite, own = compbench_plus_tiny(split), numeracy(split)
    assert tuple(p for p in suite if p not in own) == compbench_tiny(split).prompts
    assert len(own) == len({p.text for p in own}) == each
    assert {split_of(p.text) for p in own} == {split}


def test_the_official_reading_of_a_text_finds_the_numbers_that_were_meant() -> None:
    objects = [(shape, PLURALS[shape]) for shape in SHAPES]
    for prompt in (*numeracy(), *numeracy("validation")):
        found = asked_counts(prompt.text.split(), objects)
        assert [list(count) for count in found] == prompt.meta["counts"], prompt.text


def test_a_scene_has_what_is_asked_for() -> None:
    for prompt in numeracy():
        scene = scene_for(meaning_of(prompt), np.random.default_rng(0), held_out=True)
        shown = [thing.shape for thing in scene.things]
        assert len(shown) <= 4
        for shape, count in prompt.meta["counts"]:
            assert shown.count(shape) == count


def rendered(root: Path, prompts: tuple[Prompt, ...], *, as_if: tuple[Prompt, ...]) -> ImageSet:
    """Write what `as_if` mean, one picture each, as pictures of `prompts`."""
    records = []
    for prompt, meant in zip(prompts, as_if, strict=True):
        scene = scene_for(meaning_of(meant), np.random.default_rng(1), clean=True, held_out=True)
        path = f"{prompt.id}.png"
        Image.fromarray(render(scene)).save(root / path)
        records.append(ImageRecord(prompt_id=prompt.id, ordinal=0, path=path, sha256="", seed=0))
    suite = PromptSuite(name="numeracy", version="1", prompts=prompts)
    return ImageSet(root=root, suite=suite, images_per_prompt=1, records=tuple(records))


def scores(images: ImageSet) -> dict[str, float]:
    seen = [record for record, _ in TinyDetector().predict(images, {})]
    predictions = {DETECTOR_R50: Predictions(records=seen)}
    found = CompBenchPlus().score(images.suite, predictions)
    return {record["prompt_id"]: record["score"] for record in found}


def test_pixels_are_counted(tmp_path: Path) -> None:
    prompts = numeracy("validation")
    right = scores(rendered(tmp_path, prompts, as_if=prompts))
    assert set(right.values()) == {1.0}
    # one thing more of the first noun: it is there, its number is wrong
    few = tuple(p for p in prompts if sum(count for _, count in p.meta["counts"]) < 4)
    assert len(few) > 3
    more = []
    for prompt in few:
        meaning = dict(prompt.meta["meaning"])
        first, *others = meaning["nouns"]
        meaning["nouns"] = [{**first, "count": first["count"] + 1}, *others]
        more.append(replace(prompt, meta={**prompt.meta, "meaning": meaning}))
    wrong = scores(rendered(tmp_path, few, as_if=tuple(more)))
    for prompt in few:
        assert wrong[prompt.id] == 1 - 0.5 / len(prompt.meta["counts"])


def test_every_role_a_suite_needs_is_filled_and_depth_is_not_made_up() -> None:
    profile, evaluator = load_profile("tiny"), CompBenchPlus()
    roles = needed_roles(evaluator, compbench_plus_tiny("test"), profile)
    assert set(roles) == {"detector", "vqa", "clip", DETECTOR_R50}
    assert len(roles[DETECTOR_R50]) == 24
    assert profile.backends[DETECTOR_R50] == "tiny-detector"
    deep = Prompt(
        id="3d_spatial-000",
        text="a circle in front of a square",
        tag="3d_spatial",
        meta={"category": "3d_spatial", "objects": ["circle", "square"]},
    )
    with pytest.raises(NotExpressibleError, match=f"no back-end for the role '{DEPTH}'"):
        needed_roles(evaluator, PromptSuite(name="s", version="1", prompts=(deep,)), profile)


@pytest.mark.parametrize("protocol", ["test", "validation"])
def test_both_protocols_have_its_prompts(protocol: str) -> None:
    known = load_profile("tiny").protocols[protocol]["t2i-compbench-plus"]
    assert known.suite.load().name == f"compbench-plus-tiny-live-{protocol}"


TABLE = """
title: "T2I-CompBench++"
source: "nowhere"
rows:
  - {key: ceiling, label: renders, render: exact, control: ceiling}
columns:
  - {key: ALL, label: all, evaluator: t2i-compbench-plus, metric: overall_plus, per_image: score,
     higher_is_better: true, decimals: 4}
  - {key: NUM, label: numeracy, evaluator: t2i-compbench-plus, metric: numeracy,
     higher_is_better: true, decimals: 4}
"""


@pytest.mark.slow
def test_a_table_and_the_score_of_its_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "plus.yaml"
    table.write_text(TABLE)
    store = tmp_path / "store"
    asked = ["run", "--table", str(table), "--rows", "ceiling", "--protocol", "validation", "-q"]
    assert main([*asked, "--jobs", "1", "--store", str(store)]) == 0
    found: dict[str, Any] = json.loads((store / "tables" / "plus" / "table.json").read_text())
    assert '"value": 1.0' in json.dumps(found)
    (images,) = (path.parent.name for path in store.glob("images/*/manifest.json"))
    capsys.readouterr()
    score = ["score", "--evaluator", "t2i-compbench-plus", "--images", f"images/{images}"]
    assert main([*score, "--store", str(store), "--json", "-q"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["numeracy"]["value"] == 1.0
    assert set(metrics) == {
        "overall", "color", "shape", "texture", "spatial", "non_spatial", "complex", "numeracy",
        "overall_plus",
    }  # fmt: skip
    assert metrics["overall"]["value"] < metrics["overall_plus"]["value"] < 1.0
