"""T2I-CompBench's folders out and in, their limits, and the official result files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.api import (
    ImageRecord,
    ImageSet,
    IncompleteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    StoreError,
    UsageError,
)
from evaluators.compbench.folder import export_layout, file_name, import_layout
from evaluators.compbench.results import official_files

TEXTS = {
    "color": ("a red cup.", "a blue cup"),
    "spatial": ("a dog near a cat",),
    "non_spatial": ("A man sleeps.",),
}
SUITE = PromptSuite(
    name="few",
    version="1",
    prompts=tuple(
        Prompt(id=f"{c}-{n:03d}", text=text, tag=c, meta={"category": c})
        for c, texts in TEXTS.items()
        for n, text in enumerate(texts)
    ),
)


@pytest.fixture
def images(tmp_path):
    """Two images of each prompt, every other one a JPEG."""
    folder = tmp_path / "set"
    folder.mkdir()
    records = []
    for n, (prompt, ordinal) in enumerate((p, k) for p in SUITE for k in range(2)):
        name = f"{n}.{'jpg' if n % 2 else 'png'}"
        Image.fromarray(np.full((8, 8, 3), 20 * n, np.uint8)).save(folder / name)
        records.append(
            ImageRecord(prompt_id=prompt.id, ordinal=ordinal, path=name, sha256="", seed=n)
        )
    return ImageSet(root=folder, suite=SUITE, images_per_prompt=2, records=tuple(records))


@pytest.fixture
def layout(images, tmp_path):
    return export_layout(images, tmp_path / "out")


def test_names_are_prompt_and_running_number_in_the_category(layout):
    assert sorted(p.name for p in (layout / "color" / "samples").iterdir()) == [
        "a blue cup_000002.png",
        "a blue cup_000003.png",
        "a red cup._000000.png",
        "a red cup._000001.png",
    ]
    assert (layout / "spatial/samples/a dog near a cat_000000.png").is_file()
    assert [p.name for p in layout.parent.glob("*.partial")] == []


def test_what_was_written_is_read_back(images, layout):
    found = import_layout(layout, suite=SUITE)
    assert found.suite == SUITE
    assert [r.key for r in found.records] == [r.key for r in images.records]
    for ours, theirs in zip(images.paths(), found.paths(), strict=True):
        with Image.open(ours) as a, Image.open(theirs) as b:
            assert np.array_equal(np.asarray(a.convert("RGB")), np.asarray(b))
    assert found.identity == import_layout(layout, suite=SUITE).identity


def test_one_category_and_an_unknown_suite_are_read_too(layout):
    found = import_layout(layout / "color", suite=SUITE)
    assert {p.tag for p in found.suite} == {"color"}
    assert found.images_per_prompt == 2
    names = import_layout(layout)
    assert {(p.tag, p.text) for p in names.suite} == {(p.tag, p.text) for p in SUITE}
    elsewhere = layout.parent / "mine"
    (layout / "color").rename(elsewhere)
    with pytest.raises(UsageError, match="does not say of which category"):
        import_layout(elsewhere, suite=SUITE)
    colors = replace(SUITE, prompts=SUITE.prompts[:2])
    assert import_layout(elsewhere, suite=colors).suite == colors


def test_holes_and_strangers_are_refused(layout):
    samples = layout / "color" / "samples"
    (samples / "a red cup._000001.png").rename(samples.parent / "kept.png")
    with pytest.raises(IncompleteError, match=r"lacks 1 of 8 images.*color/000001"):
        import_layout(layout, suite=SUITE)
    (samples.parent / "kept.png").rename(samples / "a red mug._000001.png")
    with pytest.raises(ProtocolError, match=r"of the prompt 'a red mug\.'"):
        import_layout(layout, suite=SUITE)
    (samples / "a red mug._000001.png").rename(samples / "a red cup._000001.jpg")
    with pytest.raises(ProtocolError, match="as PNG"):
        import_layout(layout, suite=SUITE)
    (samples / "a red cup._000001.jpg").rename(samples / "a red cup._1.png")
    (samples / "a red cup._000000.png").rename(samples / "a red cup._01.png")
    with pytest.raises(ProtocolError, match="one number"):
        import_layout(layout, suite=SUITE)


def test_a_whole_category_that_is_missing_is_named(layout):
    for path in (layout / "spatial" / "samples").iterdir():
        path.unlink()
    with pytest.raises(IncompleteError, match=r"spatial/000000, spatial/000001"):
        import_layout(layout, suite=SUITE)


def test_images_of_no_prompt_are_refused(layout):
    extra = layout / "spatial/samples/a dog near a cat_000000.png"
    (extra.parent / "a dog near a cat_000007.png").write_bytes(extra.read_bytes())
    with pytest.raises(ProtocolError, match="more than 4 prompts with 2"):
        import_layout(layout, suite=SUITE, images_per_prompt=2)


@pytest.mark.parametrize("text", ["a_cat", "cat/dog", "", "two\nlines"])
def test_prompts_that_cannot_be_read_back_are_refused(text):
    with pytest.raises(UsageError, match="reads prompts back"):
        file_name(text, 0)


def test_long_names_are_refused_by_bytes():
    assert len(file_name("x" * 244, 0).encode()) == 255
    for text in ("x" * 245, "é" * 123):
        with pytest.raises(UsageError, match="bytes, more than 255"):
            file_name(text, 0)


def test_nothing_is_written_over_or_half(images, layout, tmp_path):
    with pytest.raises(StoreError, match="exists already"):
        export_layout(images, layout)
    bad = replace(SUITE, prompts=(*SUITE.prompts[:-1], replace(SUITE.prompts[-1], text="a_b")))
    with pytest.raises(UsageError):
        export_layout(replace(images, suite=bad), tmp_path / "other")
    images.paths()[0].unlink()
    with pytest.raises(IncompleteError):
        export_layout(images, tmp_path / "other")
    assert not list(tmp_path.glob("other*"))
    with pytest.raises(UsageError, match="no folder"):
        import_layout(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="neither"):
        import_layout(tmp_path)


def records(suite, scores):
    keys = [(p, k) for p in suite for k in range(2)]
    return [
        {"prompt_id": p.id, "ordinal": k, "score": s, "attribute": s / 2}
        for (p, k), s in zip(keys, scores, strict=True)
    ]


def test_result_files_have_the_official_forms():
    more = [("numeracy", "two dogs"), ("3d_spatial", "a dog hidden by a cat"), ("complex", "A hat")]
    suite = replace(
        SUITE,
        prompts=(
            *SUITE.prompts,
            *(Prompt(id=c, text=t, tag=c, meta={"category": c}) for c, t in more),
        ),
    )
    scores = [0.5, 0.12346, 1.0, 0.0, 0.75, 0.0, 0.25, 0.35, 1.0, 0.5, 0.25, 0.5, 0.3, 0.5]
    files = official_files(suite, records(suite, scores))
    assert json.loads(files["color/annotation_blip/vqa_result.json"]) == [
        {"question_id": 0, "answer": "0.5000"},
        {"question_id": 1, "answer": "0.1235"},
        {"question_id": 2, "answer": "1.0000"},
        {"question_id": 3, "answer": "0.0000"},
    ]
    blip = (0.5 + 0.1235 + 1.0) / 4
    assert files["color/annotation_blip/blip_vqa_score.txt"] == f"BLIP-VQA score:{blip}"
    two = "spatial/labels/annotation_obj_detection_2d"
    assert files[f"{two}/vqa_result.json"] == (
        '[{"question_id": 0, "answer": 0.75}, {"question_id": 1, "answer": 0.0}]'
    )
    assert files[f"{two}/avg_score.txt"] == "score avg:0.375"
    assert json.loads(files[f"{two}/mapping.json"])[1] == {
        "image": "a dog near a cat_000001.png",
        "question_id": 1,
    }
    assert files["non_spatial/annotation_clip/score_avg.txt"] == "score avg:0.3"
    assert files["numeracy/annotation_num/score.txt"] == "total:1.5 num:2 avg:0.75"
    three = "3d_spatial/labels/annotation_obj_detection_3d/avg_result.txt"
    assert files[three] == "avg score is 0.375"
    assert files["complex/annotation_3_in_1/vqa_score.txt"] == "score avg:0.4"
    assert "0.1500" in files["complex/annotation_blip/vqa_result.json"]
    with pytest.raises(IncompleteError, match="no record of image complex/1"):
        official_files(suite, records(suite, scores)[:-1])
