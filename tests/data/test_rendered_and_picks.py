from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import PromptSuite
from bench.api.errors import BenchError, UsageError
from bench.api.generation import image_seed
from bench.api.prompts import Prompt
from bench.backbones.base import Backbone
from bench.data import augmentation, picks, stored
from bench.data.images import encode_pixels
from bench.data.kinds import kind_module
from bench.data.on_disk import PairsOnDisk
from bench.data.oracle import quality, satisfaction, world_score
from bench.data.picks import PickSettings, judge
from bench.data.rendered import scene_of, spoilt
from bench.data.spec import PairSpec
from bench.generation.checkpoint import CheckpointRef
from bench.generation.image_set import suite_json
from bench.generation.sample import Sampler
from bench.store import Store
from bench.tiny.render import render
from bench.tiny.suites import meaning_of, pair_prompts_tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def short_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PAIRS_PER_PART", 3)
    monkeypatch.setattr(picks, "PROMPTS_PER_PART", 3)


def test_quality_falls_with_each_fault_and_satisfaction_does_not_ask_for_it() -> None:
    # the detector reads outlines less surely than filled shapes
    prompts = [p for p in pair_prompts_tiny(16) if meaning_of(p).style != "sketch"]
    scenes = [scene_of(prompt, 0) for prompt in prompts]

    def means(**fault: float) -> tuple[float, float]:
        pictures = [render(dataclasses.replace(scene, **fault)) for scene in scenes]  # type: ignore[arg-type]
        return (
            float(np.mean([quality(picture) for picture in pictures])),
            float(
                np.mean(
                    [satisfaction(x, meaning_of(p)) for x, p in zip(pictures, prompts, strict=True)]
                )
            ),
        )

    clean, satisfied = means()
    assert clean > 0.8 and satisfied > 0.97
    for fault, low, high in (("blur", 0.6, 1.2), ("noise", 6.0, 18.0), ("wash", 0.15, 0.4)):
        mild, strong = means(**{fault: low})[0], means(**{fault: high})[0]
        assert clean > mild + 0.1 > strong + 0.2, fault
    assert means(wash=0.2)[1] > 0.97


def test_pictures_of_the_worlds_own_quality_are_another_source() -> None:
    prompts = [p for p in pair_prompts_tiny(48) if meaning_of(p).style != "sketch"]
    prompts = [p for p in prompts if meaning_of(p).quality is None]
    clean = [quality(render(scene_of(prompt, 0))) for prompt in prompts]
    world = [quality(render(scene_of(prompt, 0, "world"))) for prompt in prompts]
    assert len(prompts) > 20 and np.mean(world) < np.mean(clean) - 0.02


def test_satisfaction_counts_the_claims_that_hold() -> None:
    prompts = [p for p in pair_prompts_tiny(256) if meaning_of(p).relation]
    right = wrong = 0.0
    for one, other in itertools.pairwise(prompts[:21]):
        picture = render(scene_of(one, 0))
        right += satisfaction(picture, meaning_of(one))
        wrong += satisfaction(picture, meaning_of(other))
    assert right / 20 > 0.97
    assert wrong / 20 < 0.5
    assert satisfaction(np.full((32, 32, 3), 235, np.uint8), meaning_of(prompts[0])) == 0.0


def test_the_judge_is_a_bradley_terry_model() -> None:
    settings = PickSettings(suite={}, generation={}, temperature=0.2, tie_margin=0.05)
    uniform = (np.arange(10000) + 0.5) / 10000
    for gap in (0.1, 0.4, -0.3):
        verdicts = [judge(0.5 + gap, 0.5, float(u), settings) for u in uniform]
        first = sum(v.label_0 == 1.0 for v in verdicts) / 10000
        chance = 1 / (1 + math.exp(-gap / 0.2))
        assert first == pytest.approx(chance, abs=2e-4)
        flipped = sum(v.flipped for v in verdicts) / 10000
        assert flipped == pytest.approx(min(chance, 1 - chance), abs=2e-4)
    assert judge(0.5, 0.53, 0.0, settings).label_0 == 0.5
    exact = PickSettings(suite={}, generation={}, temperature=0.0, tie_margin=0.0)
    assert [judge(a, 0.5, 0.999, exact).label_0 for a in (0.6, 0.4, 0.5)] == [1.0, 0.0, 0.5]
    assert judge(1e9, 0.0, 0.5, settings).label_0 == 1.0  # no overflow
    with pytest.raises(UsageError, match="temperature is -1"):
        PickSettings(suite={}, generation={}, temperature=-1.0)


def settings_of(suite: PromptSuite, spec: PairSpec, **more: Any) -> dict[str, Any]:
    return {"suite": suite_json(suite), "generation": spec.generation.identity(), **more}


def test_picks_are_the_bases_own_pictures_and_the_noise_is_measured(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    # a toy network's pictures hardly differ in score
    wanted = settings_of(suite, spec, tie_margin=0.0, temperature=0.05)
    source = PairsOnDisk(
        kind_module("tiny-picks").build(store, ref, wanted, batch_size=6, device="cpu")
    )
    report = source.report
    assert report["compared"] == len(suite) == len(source) + report["ties"]
    notes = [row.notes for row in source.rows]
    flipped = [note["score_winner"] < note["score_loser"] for note in notes]
    assert flipped == [note["flipped"] for note in notes]
    assert report["flipped_share"] == sum(flipped) / len(source)
    sampler = Sampler(backbone, spec.generation)
    batch = source.batch(range(len(source)), CPU)
    assert batch.degraded is None and batch.loser is not None
    for n, row in enumerate(source.rows[:3]):
        seeds = [image_seed(row.prompt, ordinal, 0) for ordinal in (0, 1)]
        own = sampler.latents(sampler.texts.many([row.prompt] * 2), seeds)
        prompt = next(p for p in suite if p.id == row.prompt_id)
        marks = [world_score(x, meaning_of(prompt)) for x in sampler.pixels(own)]
        first = int(not torch.allclose(batch.winner[n], own[0], rtol=1e-3, atol=1e-4))
        torch.testing.assert_close(batch.winner[n], own[first], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(batch.loser[n], own[1 - first], rtol=1e-3, atol=1e-4)
        assert row.notes["score_winner"] == pytest.approx(marks[first], abs=2e-2)


def test_all_ties_are_no_set(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec
) -> None:
    with pytest.raises(BenchError, match="all 7 pairs are ties; lower tie_margin"):
        kind_module("tiny-picks").build(
            store, ref, settings_of(suite, spec, tie_margin=9.0), device="cpu"
        )


@pytest.mark.parametrize("loser", ["none", "degraded"])
def test_rendered_pairs(
    store: Store, ref: CheckpointRef, suite: PromptSuite, backbone: Backbone, loser: str
) -> None:
    wanted = {"suite": suite_json(suite), "loser": loser, "posterior": "mean"}
    source = PairsOnDisk(kind_module("rendered").build(store, ref, wanted, device="cpu"))
    batch = source.batch(range(len(suite)), CPU)
    assert [row.prompt for row in source.rows] == [prompt.text for prompt in suite]
    prompts = list(suite)
    scenes = [scene_of(prompt, 0) for prompt in prompts]

    def encoded(pictures: list[np.ndarray]) -> torch.Tensor:
        keys = range(len(pictures))
        return encode_pixels(backbone, np.stack(pictures), posterior="mean", keys=keys, seed=0)

    clean = encoded([render(scene) for scene in scenes])
    torch.testing.assert_close(batch.winner, clean, rtol=1e-4, atol=1e-5)
    if loser == "none":
        assert batch.loser is None
        return
    faults = [spoilt(scene, prompt, 0) for scene, prompt in zip(scenes, prompts, strict=True)]
    assert batch.loser is not None
    bad = encoded([render(scene) for scene, _ in faults])
    torch.testing.assert_close(batch.loser, bad, rtol=1e-4, atol=1e-5)
    assert [row.notes["fault"] for row in source.rows] == [fault for _, fault in faults]
    assert [scene.things for scene, _ in faults] == [scene.things for scene in scenes]


def test_a_rendered_winner_against_the_bases_own_picture(
    store: Store, ref: CheckpointRef, suite: PromptSuite, spec: PairSpec, backbone: Backbone
) -> None:
    made = kind_module("rendered").build(
        store, ref, settings_of(suite, spec, loser="base"), batch_size=2, device="cpu"
    )
    loser = PairsOnDisk(made).batch([4], CPU).loser
    assert loser is not None
    text = list(suite)[4].text
    sampler = Sampler(backbone, spec.generation)
    own = sampler.latents(sampler.texts.many([text]), [image_seed(text, 0, 0)])
    torch.testing.assert_close(loser, own, rtol=1e-3, atol=1e-4)


def test_an_interrupted_set_goes_on_and_is_the_same(
    tmp_path: Path, ref: CheckpointRef, suite: PromptSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"suite": suite_json(suite)}
    whole = kind_module("rendered").build(Store(tmp_path / "a"), ref, wanted, device="cpu")
    encoded: list[int] = []
    inner = augmentation.encode_pixels

    def stops(backbone: Backbone, pixels: np.ndarray, **options: Any) -> torch.Tensor:
        encoded.append(len(pixels))
        if len(encoded) == 4:
            raise KeyboardInterrupt
        return inner(backbone, pixels, **options)

    monkeypatch.setattr(augmentation, "encode_pixels", stops)
    store = Store(tmp_path / "b")
    with pytest.raises(KeyboardInterrupt):
        kind_module("rendered").build(store, ref, wanted, device="cpu")
    again = kind_module("rendered").build(store, ref, wanted, device="cpu")
    assert encoded == [3, 3, 3, 3, 3, 3, 1, 1]  # the first part was not made twice
    assert again.content_sha256 == whole.content_sha256


def test_wrong_settings_are_explained(store: Store, ref: CheckpointRef, suite: PromptSuite) -> None:
    module = kind_module("rendered")
    given = {"suite": suite_json(suite)}
    with pytest.raises(UsageError, match=r"unknown loser 'degrade'.*'degraded'"):
        module.identity(store, ref, {**given, "loser": "degrade"})
    with pytest.raises(UsageError, match="give it with loser: base"):
        module.identity(store, ref, {**given, "loser": "base"})
    prompt = Prompt(id="x", text="a photograph of a dog", tag="", meta={})
    foreign = PromptSuite(name="photos", version="1", licence="", prompts=(prompt,))
    for kind in ("rendered", "tiny-picks"):
        generation = {} if kind == "rendered" else {"generation": {
            "steps": 1, "cfg_scale": 1.0, "height": 32, "width": 32}}  # fmt: skip
        with pytest.raises(UsageError, match="meaning of prompt x is not known"):
            kind_module(kind).build(
                store, ref, {"suite": suite_json(foreign), **generation}, device="cpu"
            )
