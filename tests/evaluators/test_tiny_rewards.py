"""The tiny world's scorers: what they prefer, how they are made, and the path to a metric."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.api import ImageRecord, ImageSet, Prompt, PromptSuite
from bench.api.registry import BACKENDS, EVALUATORS
from bench.tiny.assets import expected_hashes, path_of, weights_sha256
from bench.tiny.build import choices as made
from bench.tiny.build.aesthetic import new_head
from bench.tiny.grammar import to_text
from bench.tiny.render import render
from bench.tiny.scenes import random_description
from bench.tiny.world import HELD_OUT, Description, Noun, Scene
from evaluators.models.affine_head import affine_head
from evaluators.models.tiny_rewards import TinyRealism
from tests.evaluators.pictures import assert_batches_and_order_change_nothing, predict

pytest.importorskip("open_clip")

NAMES = (
    "tiny-hpsv2", "tiny-pickscore", "tiny-imagereward", "tiny-hpsv3", "tiny-aesthetic", "tiny-deqa",
    "tiny-unifiedreward",
)  # fmt: skip
FRESH = 987_654
"""A stream of random numbers that no training draws from."""


def fresh(folder: Path, count: int) -> ImageSet:
    """Return three pictures of each of `count` new prompts: clean, degraded, wrong."""
    prompts, records = [], []
    for number in range(count):
        rng = np.random.default_rng([FRESH, number])
        meaning = replace(random_description(rng), quality=None)
        key = f"p{number:03d}"
        prompts.append(Prompt(id=key, text=to_text(meaning)))
        for ordinal, (scene, _, _) in enumerate(made.ranked_three(meaning, rng)):
            path = f"{key}-{ordinal}.png"
            Image.fromarray(render(scene)).save(folder / path)
            records.append(
                ImageRecord(prompt_id=key, ordinal=ordinal, path=path, sha256="", seed=0)
            )
    suite = PromptSuite(name="captions-tiny-fresh", version="1", prompts=tuple(prompts))
    return ImageSet(root=folder, suite=suite, images_per_prompt=3, records=tuple(records))


def asked(images: ImageSet) -> dict[str, tuple[str, ...]]:
    return {prompt.id: (prompt.text,) for prompt in images.suite}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return fresh(tmp_path_factory.mktemp("fresh"), 200)


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_files_are_small_and_as_listed(name: str) -> None:
    files = list(path_of(name).glob("*.safetensors"))
    assert len(files) == 1 and files[0].stat().st_size <= 1_500_000
    assert expected_hashes()[name] == weights_sha256(name)
    assert "held_out" in (path_of(name) / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "clean_over_degraded", "right_over_wrong"),
    [
        ("tiny-hpsv2", 0.88, 0.76),
        ("tiny-pickscore", 0.82, 0.72),
        ("tiny-imagereward", 0.77, 0.73),
        ("tiny-hpsv3", 0.82, 0.78),
        ("tiny-aesthetic", 0.65, None),
        ("tiny-deqa", 0.85, None),
    ],
)
def test_they_prefer_better_pictures_of_new_prompts(
    images: ImageSet, name: str, clean_over_degraded: float, right_over_wrong: float | None
) -> None:
    rows = predict(BACKENDS.load(name)(), images, asked(images), batch=64)
    scores = np.array([row["score"][0] for row in rows]).reshape(-1, 3)
    assert (scores[:, 0] > scores[:, 1]).mean() > clean_over_degraded
    if right_over_wrong is not None:
        assert (scores[:, 0] > scores[:, 2]).mean() > right_over_wrong


@pytest.mark.parametrize("name", [*NAMES, "tiny-realism"])
def test_batches_and_order_change_nothing(name: str, images: ImageSet) -> None:
    few = replace(images, records=images.records[:9])
    backend = BACKENDS.load(name)()
    assert_batches_and_order_change_nothing(backend, few, asked(images))
    assert backend.identity()["backend"] == name


def test_from_pictures_to_metrics(images: ImageSet) -> None:
    from bench.api import Predictions

    few = replace(
        images,
        suite=replace(images.suite, prompts=images.suite.prompts[:6]),
        records=images.records[:18],
    )
    expected = {
        "hpsv2": {"tiny"},
        "pickscore": {"raw/tiny", "scaled/tiny", "median/tiny"},
        "imagereward": {"mean", "median"},
        "hpsv3": {"mean", "uncertainty"},
        "aesthetic": {"mean", "median"},
        "deqa": {"mean"},
        "unifiedreward": {"mean", "unparsed"},
        "realism": {"gap", "texture"},
    }
    for name, metrics in expected.items():
        evaluator = EVALUATORS.load(name)()
        given = {}
        for role in evaluator.spec.backends:
            backend = BACKENDS.load({"texture": "laplacian"}.get(role, f"tiny-{role}"))()
            queries = {p.id: evaluator.queries(role, p) for p in few.suite}
            given[role] = Predictions(records=predict(backend, few, queries))
        records = list(evaluator.score(few.suite, given))
        found = evaluator.aggregate(records, given)
        assert set(found) == metrics
        assert all(e.n == 18 and e.clusters == 6 and e.low is not None for e in found.values())


def test_quality_is_read_off_the_levels_and_falls_with_the_fault(images: ImageSet) -> None:
    rows = predict(BACKENDS.load("tiny-deqa")(), images, {}, batch=64)
    for row in rows:
        assert sum(row["levels"]) == pytest.approx(1.0, abs=1e-5)
        expected = sum(level * p for level, p in zip((5, 4, 3, 2, 1), row["levels"], strict=True))
        assert row["score"] == pytest.approx([expected], abs=1e-5)
    scores = np.array([row["score"][0] for row in rows]).reshape(-1, 3)
    assert scores[:, 0].mean() > scores[:, 1].mean() + 1.0


def test_answers_are_marks_that_follow_prompt_and_quality(images: ImageSet) -> None:
    from bench.tiny.reward_networks import MARKS
    from evaluators.rewards.unifiedreward_rules import parse

    rows = predict(BACKENDS.load("tiny-unifiedreward")(), images, asked(images), batch=64)
    for row in rows:
        assert sum(row["chances"]) == pytest.approx(1.0, abs=1e-5)
        likeliest = MARKS[int(np.argmax(row["chances"]))]
        assert parse(row["answer"], "faithful") == parse(row["answer"], "clean") == likeliest
    marks = np.array([parse(row["answer"], "clean") for row in rows]).reshape(-1, 3)
    assert marks[:, 0].mean() > marks[:, 1].mean() + 0.4
    assert marks[:, 0].mean() > marks[:, 2].mean() + 0.4
    decided = marks[:, 0] != marks[:, 2]
    assert (marks[:, 0] > marks[:, 2])[decided].mean() > 0.75


def test_a_degraded_picture_leaves_more_doubt(images: ImageSet) -> None:
    rows = predict(BACKENDS.load("tiny-hpsv3")(), images, asked(images), batch=64)
    sigma = np.array([row["uncertainty"] for row in rows]).reshape(-1, 3)
    assert (sigma > 0).all()
    assert (sigma[:, 1] > sigma[:, 0]).mean() > 0.6


def test_the_rewards_path_gives_what_the_recipe_saved(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.tiny.build import listed
    from bench.tiny.build.tokenizer import build_tokenizer
    from evaluators.models import tiny_readers

    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    net = listed.RewardNet(tokenizer).to(torch.float16).float().eval()
    listed.save_imagereward(net, {"reward_mean": 0.25, "reward_std": 0.5}, tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(tiny_readers, "path_of", lambda name: tmp_path)
    few = replace(images, records=images.records[:9])
    rows = predict(tiny_readers.TinyImageReward(), few, asked(images))
    said = {prompt.id: prompt.text for prompt in images.suite}
    pixels = np.stack([np.asarray(Image.open(few.root / r.path)) for r in few.records])
    raw = listed.reward_scorer(net, tokenizer)(pixels, [said[r.prompt_id] for r in few.records])
    np.testing.assert_allclose([r["score"][0] for r in rows], (raw - 0.25) / 0.5, atol=1e-5)
    assert_batches_and_order_change_nothing(tiny_readers.TinyImageReward(), few, asked(images))


def test_realism_speaks_the_worlds_words() -> None:
    said = TinyRealism().said
    assert said("Realistic photo a red circle") == "a clean picture of a red circle"
    assert said("CG Render a picture of a red circle") == "a noisy picture of a red circle"
    assert said("a red circle") == "a red circle"


def test_an_altered_meaning_is_another_and_never_a_held_out_pair() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        meaning = random_description(rng)
        other = made.altered(meaning, rng)
        assert other != meaning
        assert not any((noun.color, noun.shape) in HELD_OUT for noun in other.nouns)
        assert (other.night, other.style, other.quality) == (
            meaning.night, meaning.style, meaning.quality,
        )  # fmt: skip


def test_the_three_pictures_differ_in_what_they_say() -> None:
    rng = np.random.default_rng(1)
    meaning = Description(nouns=(Noun(shape="circle", color="red"),))
    for _ in range(20):
        (clean, *no_fault), (poor, errors, severity), (_, wrong, whole) = made.ranked_three(
            meaning, rng
        )
        assert no_fault == [0, 0.0]
        assert poor.things == clean.things
        assert errors == 0 and 0.25 <= severity <= 1.0
        assert (wrong, whole) == (1, 0.0)
        assert not np.array_equal(render(clean), render(poor))
    worst = made.degraded(Scene(), 1.0, rng)
    assert max(worst.blur / 1.6, worst.noise / 26, worst.wash / 0.6) == pytest.approx(1.0)


def test_the_heads_of_recipe_and_back_end_are_one() -> None:
    recipe = {f"layers.{k}": tuple(v.shape) for k, v in new_head(128).state_dict().items()}
    assert recipe == {k: tuple(v.shape) for k, v in affine_head(128).state_dict().items()}
