import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.api import (
    ImageRecord,
    ImageSet,
    IncompleteError,
    PromptSuite,
    ProtocolError,
    StoreError,
    UsageError,
)
from evaluators.geneval.folder import export_layout, import_layout
from evaluators.geneval.prompts import generate_metadata, geneval_suite, metadata_jsonl


@pytest.fixture
def image_set(tmp_path):
    prompts = geneval_suite().limited(6)
    rng = np.random.default_rng(0)
    records = []
    root = tmp_path / "images"
    root.mkdir()
    for prompt in prompts:
        for k in range(2):
            name = f"{prompt.id}-{k}.png"
            pixels = rng.integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=k, path=name, sha256="", seed=0)
            )
    return ImageSet(root=root, suite=prompts, images_per_prompt=2, records=tuple(records))


def test_exported_folders_are_the_official_ones(image_set, tmp_path):
    root = export_layout(image_set, tmp_path / "deep" / "official", grid=True)
    ids = [prompt.id for prompt in image_set.suite]
    assert sorted(p.name for p in root.iterdir()) == ids
    folder = root / ids[2]
    assert sorted(p.name for p in folder.iterdir()) == ["grid.png", "metadata.jsonl", "samples"]
    assert sorted(p.name for p in (folder / "samples").iterdir()) == ["00000.png", "00001.png"]
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == (16, 8)
    line = metadata_jsonl(generate_metadata()).splitlines()[int(ids[2])]
    assert (folder / "metadata.jsonl").read_text() == line
    assert list((tmp_path / "deep").iterdir()) == [root]


def test_what_was_exported_comes_back(image_set, tmp_path):
    root = export_layout(image_set, tmp_path / "official")
    back = import_layout(root, suite=image_set.suite)
    back.require_complete()
    assert [(r.prompt_id, r.ordinal) for r in back.records] == [
        (r.prompt_id, r.ordinal) for r in image_set.records
    ]
    for theirs, ours in zip(back.paths(), image_set.paths(), strict=True):
        assert theirs.read_bytes() == ours.read_bytes()
    assert import_layout(root).suite.sha256 == image_set.suite.sha256
    assert import_layout(root).identity == back.identity != ""


def test_four_digit_folders_load_sorted_by_number(image_set, tmp_path):
    root = export_layout(image_set, tmp_path / "official")
    expected = import_layout(root)
    for folder in sorted(root.iterdir()):
        folder.rename(root / folder.name[1:])
    (root / "grids").mkdir()
    (root / "results.txt").write_text("")
    back = import_layout(root)
    assert [p.id for p in back.suite] == [p.id for p in expected.suite]
    assert [r.sha256 for r in back.records] == [r.sha256 for r in expected.records]


def test_a_missing_image_is_refused_by_name(image_set, tmp_path):
    root = export_layout(image_set, tmp_path / "official")
    first, last = image_set.suite.prompts[0].id, image_set.suite.prompts[-1].id
    (root / first / "samples" / "00000.png").unlink()
    with pytest.raises(IncompleteError, match=f"1 of 12 images: {first}/samples/00000.png"):
        import_layout(root)
    shutil.rmtree(root / last)
    with pytest.raises(IncompleteError, match=f"{last}/samples/00001.png"):
        import_layout(root, suite=image_set.suite)
    with pytest.raises(IncompleteError, match=r"lacks 6 of 15 images"):
        import_layout(root, images_per_prompt=3)


def test_an_incomplete_set_is_not_exported(image_set, tmp_path):
    image_set.paths()[3].unlink()
    missing = image_set.records[3].key
    with pytest.raises(IncompleteError, match=missing):
        export_layout(image_set, tmp_path / "official")
    assert not (tmp_path / "official").exists()


def test_another_prompts_folder_is_refused(image_set, tmp_path):
    root = export_layout(image_set, tmp_path / "official")
    path = root / image_set.suite.prompts[1].id / "metadata.jsonl"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "prompt": "a photo of a nightmare"}))
    with pytest.raises(ProtocolError, match="nightmare"):
        import_layout(root, suite=image_set.suite)


def test_export_never_writes_over_a_folder_nor_leaves_a_half_one(image_set, tmp_path):
    (tmp_path / "official").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        export_layout(image_set, tmp_path / "official")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        export_layout(image_set, tmp_path / "file" / "official")


def test_a_failing_copy_leaves_nothing(image_set, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(StoreError, match="No space left"):
        export_layout(image_set, tmp_path / "official")
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_folders_without_layout_are_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        import_layout(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no numbered folder"):
        import_layout(tmp_path)
    (tmp_path / "0001").mkdir()
    with pytest.raises(IncompleteError, match=r"metadata.jsonl is missing"):
        import_layout(tmp_path)
    (tmp_path / "00001").mkdir()
    with pytest.raises(UsageError, match="keep one"):
        import_layout(tmp_path)


def test_images_of_other_formats_become_png_and_own_ids_become_places(image_set, tmp_path):
    source = image_set.root / "a.jpg"
    Image.new("RGB", (8, 8), (10, 200, 30)).save(source, quality=75)
    prompt = image_set.suite.prompts[0]
    renamed = type(prompt)(id="tiny-a", text=prompt.text, tag=prompt.tag, meta=prompt.meta)
    one = ImageSet(
        root=image_set.root,
        suite=PromptSuite(name="one", version="1", prompts=(renamed,)),
        images_per_prompt=1,
        records=(ImageRecord(prompt_id="tiny-a", ordinal=0, path="a.jpg", sha256="", seed=0),),
    )
    root = export_layout(one, tmp_path / "official")
    with Image.open(source) as jpeg, Image.open(root / "00000/samples/00000.png") as png:
        assert png.format == "PNG"
        assert np.array_equal(np.asarray(jpeg), np.asarray(png))
    assert import_layout(root, suite=one.suite).records[0].prompt_id == "tiny-a"


def test_prompts_asked_more_often_come_back_with_what_they_were_asked(image_set, tmp_path):
    """A task of few texts has more images a prompt: not a folder that lacks some."""
    first, *rest = image_set.suite
    suite = PromptSuite(name="s", version="1", prompts=(replace(first, times=2), *rest))
    more = [
        ImageRecord(prompt_id=first.id, ordinal=k, path=f"{first.id}-0.png", sha256="", seed=0)
        for k in (2, 3)
    ]
    records = (*image_set.records[:2], *more, *image_set.records[2:])
    images = ImageSet(root=image_set.root, suite=suite, images_per_prompt=2, records=records)
    root = export_layout(images, tmp_path / "official")
    assert json.loads((root / first.id / "metadata.jsonl").read_text())["times"] == 2
    for asked in (None, suite):
        back = import_layout(root, suite=asked)
        assert back.images_per_prompt == 2 and [p.times for p in back.suite] == [2, 1, 1, 1, 1, 1]
        assert len(back.records) == 14
    (root / first.id / "samples" / "00003.png").unlink()
    with pytest.raises(IncompleteError, match="lacks 1 of 14 images"):
        import_layout(root)
    metadata = root / first.id / "metadata.jsonl"
    metadata.write_text(metadata.read_text().replace('"times": 2', '"times": "two"'))
    with pytest.raises(UsageError, match="times is 'two'; expected a whole number"):
        import_layout(root)
