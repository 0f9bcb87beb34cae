"""OneIG and DPG-Bench in the tiny world: suites, the reader of signs, styles, and the ceiling."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import ImageRecord, ImageSet, Predictions, PromptSuite, UsageError
from bench.tiny.graph_suites import (
    DPG_PROMPTS,
    ONEIG_PER_CATEGORY,
    STYLES,
    dpg_tiny,
    oneig_tiny,
    question_graph,
)
from bench.tiny.render import render
from bench.tiny.scenes import random_description, scene_for
from bench.tiny.suites import meaning_of, split_of
from bench.tiny.world import LETTERS, Noun, Scene
from evaluators.dpg.metric import DPG
from evaluators.models.tile_check import TileCheck
from evaluators.models.tiny_sign_reader import ALIKE, NOTHING, TinySignReader, read_signs
from evaluators.models.tiny_style import TinyDiversity, TinyStyle, style_pictures
from evaluators.models.tiny_vqa import TinyVQA
from evaluators.oneig.metric import OneIG
from evaluators.question_graph import graph_of
from tests.precision import FORWARD

SUITES = (oneig_tiny, dpg_tiny)
GOLDEN = {
    "oneig-tiny-test": "ea554019e901297dbed3cd7198f3f19124d548fa92b763ecb7686936962e6621",
    "oneig-tiny-validation": "26781fb68b4d706ea39d0f16724f3fb8d92c12e76d9de4d3027a897c87800508",
    "dpg-tiny-test": "748f89926d87d0f8bd01ae7b71c6e51002baf2c747342d818b88bf5904a16b3b",
    "dpg-tiny-validation": "142afef0d7e830aef3cc457fb1bdc76311f7c8b5324d698be6a36526053dd4f8",
}
BACKENDS = {
    "tiles": TileCheck,
    "oneig-vqa": TinyVQA,
    "oneig-ocr": TinySignReader,
    "oneig-style": TinyStyle,
    "oneig-diversity": TinyDiversity,
    "dpg-vqa": TinyVQA,
}


def rendered(folder: Path, suite: PromptSuite, images: int = 2) -> ImageSet:
    """Return an image set of what the prompts mean."""
    records = []
    for number, prompt in enumerate(suite):
        for k in range(images):
            rng = np.random.default_rng([number, k])
            picture = render(scene_for(meaning_of(prompt), rng, clean=True, held_out=True))
            path = f"{prompt.id}-{k}.png"
            Image.fromarray(picture).save(folder / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=k, path=path, sha256="", seed=0)
            )
    return ImageSet(root=folder, suite=suite, images_per_prompt=images, records=tuple(records))


def measure(evaluator, images: ImageSet, batch_size: int = 64):
    predictions = {}
    for role in evaluator.spec.backends:
        queries = {p.id: texts for p in images.suite if (texts := list(evaluator.queries(role, p)))}
        if role not in BACKENDS:
            assert not any(evaluator.wants(role, p) for p in images.suite)
            continue
        made = list(BACKENDS[role]().predict(images, queries, batch_size=batch_size))
        names = made[0][1]
        predictions[role] = Predictions(
            records=[r for r, _ in made],
            arrays={name: np.stack([a[name] for _, a in made]) for name in names},
        )
    records = list(evaluator.score(images.suite, predictions))
    return records, evaluator.aggregate(records, predictions)


@pytest.mark.parametrize("make", SUITES)
def test_splits_are_disjoint_and_suites_do_not_change(make) -> None:
    texts = set()
    for split in ("validation", "test"):
        suite = make(split)
        assert GOLDEN[suite.name] == suite.sha256
        assert all(split_of(p.text) == split for p in suite)
        texts |= {p.text for p in suite}
        for prompt in suite:
            if "questions" in prompt.meta:
                graph_of(prompt)
    assert len(texts) == len(make("test")) + len(make("validation"))


def test_sizes() -> None:
    counts = {tag: sum(p.tag == tag for p in oneig_tiny()) for tag in oneig_tiny().tags}
    assert set(counts.values()) == {ONEIG_PER_CATEGORY["test"]}
    assert len(dpg_tiny()) == DPG_PROMPTS["test"]


def test_the_graph_of_a_noun() -> None:
    graph = question_graph((Noun(shape="circle", color="red", size="small"),))
    assert list(graph["questions"].values()) == [
        "a circle?", "a red circle?", "a small circle?", "a small red circle?",
    ]  # fmt: skip
    assert list(graph["parents"].values()) == [[0], [1], [1], [2, 3]]
    assert graph["tuples"]["2"] == "attribute - color (circle)"


def test_signs_are_read_at_every_quality_and_place() -> None:
    texts = ("H", "LO", "TXZ", "OOO")
    scenes = [
        Scene(letters=t, night=n, noise=x, wash=w, noise_seed=1)
        for t in texts
        for n in (False, True)
        for x, w in ((0, 0), (20, 0), (0, 0.5))
    ]
    found = read_signs(np.stack([np.roll(render(s), (1, -1), (0, 1)) for s in scenes]))
    assert [text for text, _ in found] == [s.letters for s in scenes]
    assert min(alike for _, alike in found) > ALIKE


def test_pictures_without_a_sign_are_not_read(tmp_path: Path) -> None:
    pictures = [np.full((32, 32, 3), level, dtype=np.uint8) for level in (0, 128, 255)]
    for i in range(60):
        rng = np.random.default_rng([8, i])
        meaning = random_description(rng)
        if not meaning.letters:
            pictures.append(render(scene_for(meaning, rng)))
    assert sum(alike >= ALIKE for _, alike in read_signs(np.stack(pictures))) <= 1
    suite = oneig_tiny("validation").limited(1)
    images = rendered(tmp_path, suite, 1)
    asked = {p.id: ["128"] for p in suite}
    for record, _ in TinySignReader().predict(images, asked):
        sign = record["prompt_id"].startswith("text")
        assert (record["text"] != NOTHING) == sign
        assert not sign or set(record["text"]) <= set(LETTERS)


def test_each_style_is_nearest_to_itself(tmp_path: Path) -> None:
    """Held-out renders of a style score higher under it than under each other style."""
    prompts = [p for p in oneig_tiny("validation") if p.tag == "style"][:1]
    suite = PromptSuite(name="one", version="1", prompts=tuple(prompts))
    scores = np.zeros((len(STYLES), len(STYLES)))
    for i, style in enumerate(STYLES):
        pictures = style_pictures(style, 8, seed=77)
        records = []
        for k, picture in enumerate(pictures):
            path = f"{i}-{k}.png"
            Image.fromarray(picture).save(tmp_path / path)
            records.append(
                ImageRecord(prompt_id=prompts[0].id, ordinal=k, path=path, sha256="", seed=0)
            )
        images = ImageSet(root=tmp_path, suite=suite, images_per_prompt=8, records=tuple(records))
        for j, asked in enumerate(STYLES):
            found = [r["cosines"] for r, _ in TinyStyle().predict(images, {prompts[0].id: [asked]})]
            scores[i, j] = np.mean([max(0, *v) for c in found for v in c.values()])
    assert (scores.argmax(axis=1) == np.arange(len(STYLES))).all(), scores
    with pytest.raises(UsageError, match="unknown style 'cubism'"):
        list(TinyStyle().predict(images, {prompts[0].id: ["cubism"]}))


def test_the_ceiling_of_oneig_tiny(tmp_path: Path) -> None:
    images = rendered(tmp_path, oneig_tiny("validation"))
    records, found = measure(OneIG(), images)
    assert found["text"].value > 0.95 and found["completion_rate"].value > 0.9
    assert found["alignment"].value > 0.85
    assert found["style"].value > 0.5
    assert found["diversity"].value > 0.05
    assert "reasoning" not in found
    other, _ = measure(OneIG(), images, batch_size=5)
    for one, two in zip(records, other, strict=True):
        assert one.keys() == two.keys()
        assert all(one[k] == two[k] or one[k] == pytest.approx(two[k], abs=FORWARD) for k in one)


def test_the_ceiling_of_dpg_tiny(tmp_path: Path) -> None:
    suite = dpg_tiny("validation")
    images = rendered(tmp_path, suite)
    _, found = measure(DPG(), images)
    assert found["score"].value > 85
    # the same pictures under other prompts
    turned = PromptSuite(
        name="turned",
        version="1",
        prompts=tuple(
            type(p)(id=p.id, text=p.text, meta=suite.prompts[(i + 1) % len(suite)].meta)
            for i, p in enumerate(suite)
        ),
    )
    wrong = ImageSet(root=tmp_path, suite=turned, images_per_prompt=2, records=images.records)
    assert measure(DPG(), wrong)[1]["score"].value < found["score"].value - 30
