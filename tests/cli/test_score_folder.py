"""Scoring images of others: both layouts, what is refused, and the records that come out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.api.errors import IncompleteError, ProtocolError, UsageError
from bench.api.folder import image_set, read_flat
from bench.api.generation import ImageSet
from bench.api.prompts import Prompt, PromptSuite
from bench.cli import main
from bench.generation.folder import read_manifest
from bench.generation.pictures import check_pictures
from bench.harness.folders import read_folder
from bench.store import read_jsonl, read_parquet
from bench.tiny.render import render
from bench.tiny.scenes import scene_for
from bench.tiny.suites import geneval_tiny, meaning_of
from evaluators.geneval.folder import metadata_of
from evaluators.rewards.hpsv2_folder import read_official

PROMPTS = geneval_tiny(split="test").limited(6)
PER_PROMPT = 2


def true_picture(prompt: Any, ordinal: int) -> Image.Image:
    rng = np.random.default_rng(ordinal)
    return Image.fromarray(render(scene_for(meaning_of(prompt), rng)))


@pytest.fixture(scope="module")
def official_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The true scenes of six prompts in GenEval's folders, written by hand."""
    root = tmp_path_factory.mktemp("foreign") / "official"
    for number, prompt in enumerate(PROMPTS):
        samples = root / f"{number:05d}" / "samples"
        samples.mkdir(parents=True)
        (samples.parent / "metadata.jsonl").write_text(json.dumps(metadata_of(prompt)))
        for k in range(PER_PROMPT):
            true_picture(prompt, k).save(samples / f"{k:05d}.png")
    return root


@pytest.fixture
def official(official_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(official_once, tmp_path / "official"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The same pictures under names of their own."""
    root = tmp_path / "mine"
    (root / "a").mkdir(parents=True)
    lines = []
    for number, prompt in enumerate(PROMPTS):
        for k in range(PER_PROMPT):
            name = f"a/{number}_{k}.png"
            true_picture(prompt, k).save(root / name)
            meta = {key: prompt.meta[key] for key in ("include", "exclude") if key in prompt.meta}
            line = {"file": name, "prompt": prompt.text, "tag": prompt.tag, "meta": meta}
            lines.append(json.dumps(line))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    return root


def score(store: Path, *words: str) -> int:
    quiet = ["--jobs", "1", "--device", "cpu", "-q", "--store", str(store)]
    return main(["score", *words, *quiet])


def test_both_layouts_give_the_same_scores_and_records(
    official: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    assert score(store, "--images", str(official), "--json", "--out", str(out)) == 0
    first = json.loads(capsys.readouterr().out)
    assert score(store, "--images", str(manifest), "--json") == 0
    second = json.loads(capsys.readouterr().out)
    assert first["images"] != second["images"]  # other ids, other artifacts
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["overall"]["n"] == len(PROMPTS) * PER_PROMPT
    assert first["metrics"]["overall"]["value"] > 0.5  # pictures of what the prompts say
    assert {Path(p).name for p in first["files"]} == {p.name for p in out.iterdir()}
    lines = read_jsonl(out / "records.jsonl")
    rows = read_parquet(out / "records.parquet")
    assert [(r["prompt_id"], r["ordinal"], r["correct"]) for r in lines] == [
        (r["prompt_id"], r["ordinal"], r["correct"]) for r in rows
    ]
    assert len(rows) == len(PROMPTS) * PER_PROMPT
    written = json.loads((out / "metrics.json").read_text())
    assert written["metrics"] == first["metrics"]
    used = {"detector": {"name": "tiny-detector", "verified": "real-weights"}}
    assert written["backends"] == first["backends"] == used
    assert score(store, "--images", str(official)) == 0
    assert "detector: tiny-detector, verified: real-weights" in capsys.readouterr().out


def test_an_order_to_measure_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score"]) == 2
    assert "--images is required" in capsys.readouterr().err


def lose_one(root: Path) -> None:
    (root / "00002" / "samples" / "00001.png").unlink()


def lose_a_folder(root: Path) -> None:
    (root / "00003" / "metadata.jsonl").unlink()


def name_wrongly(root: Path) -> None:
    (root / "00001" / "samples" / "00001.png").rename(root / "00001" / "samples" / "second.png")


def twice(root: Path) -> None:
    samples = root / "00001" / "samples"
    shutil.copyfile(samples / "00001.png", samples / "0001.png")


def make_jpeg(root: Path) -> None:
    path = root / "00001" / "samples" / "00001.png"
    with Image.open(path) as picture:
        picture.save(path.with_suffix(".jpg"))
    path.unlink()


def change(convert: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    def apply(root: Path) -> None:
        path = root / "00004" / "samples" / "00000.png"
        with Image.open(path) as picture:
            convert(picture).save(path)

    return apply


def cut_short(root: Path) -> None:
    path = root / "00005" / "samples" / "00000.png"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("damage", "hint"),
    [
        (lose_one, "lacks 1 of 12 images: 00002/samples/00001.png"),
        (lose_a_folder, "00003/metadata.jsonl is missing"),
        (name_wrongly, "second.png: expected samples named by number"),
        (twice, "0001.png and 00001.png are the same sample"),
        (make_jpeg, "00001.jpg: expected samples named by number"),
        (change(lambda p: p.convert("RGBA")), "00000.png (RGBA)"),
        (change(lambda p: p.convert("L")), "00000.png (L)"),
        (change(lambda p: p.convert("I;16")), "not of 8 bits: pixels of mode I;16"),
        (change(lambda p: p.resize((40, 32))), "00000.png (40 x 32)"),
        (cut_short, "broken: "),
    ],
)
def test_a_damaged_official_folder_is_refused_and_nothing_is_written(
    damage: Callable[[Path], None],
    hint: str,
    official: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(official)
    store, out = tmp_path / "store", tmp_path / "out"
    assert score(store, "--images", str(official), "--out", str(out)) == 1
    assert hint in capsys.readouterr().err
    assert not out.exists()
    assert not list(store.glob("images/*"))


def test_another_size_than_the_profile_measures_is_refused(
    official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in official.rglob("*.png"):
        with Image.open(path) as picture:
            picture.resize((64, 64)).save(path)
    assert score(tmp_path / "store", "--images", str(official)) == 1
    said = capsys.readouterr().err
    assert "not of 32 x 32 pixels" in said and "is another --profile meant?" in said


def rewrite(root: Path, **changes: Any) -> None:
    """Change the second line of a manifest; None removes a key."""
    lines = (root / "manifest.jsonl").read_text().splitlines()
    row = {**json.loads(lines[1]), **changes}
    lines[1] = json.dumps({k: v for k, v in row.items() if v is not None})
    (root / "manifest.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("changes", "error", "hint"),
    [
        ({"fil": "x"}, UsageError, "line 2: unknown key 'fil'. Did you mean 'file'?"),
        ({"file": None}, UsageError, "names no `file`"),
        ({"file": "../x.png"}, UsageError, "leads out of the folder"),
        ({"file": "a/none.png"}, IncompleteError, "00000/1"),
        ({"prompt": 3}, UsageError, "prompt is 3; expected str"),
        ({"ordinal": -1}, UsageError, "expected 0 or more"),
        ({"ordinal": 0}, UsageError, "image 0 of prompt '00000' is named on line 1 already"),
        ({"ordinal": 2}, IncompleteError, "Every prompt needs 3 images"),
        ({"prompt_id": "00000", "prompt": "another"}, ProtocolError, "two prompts have the id"),
        ({"prompt": "a text of its own"}, IncompleteError, "lacks 2 of 14"),
        ({"sha256": "0" * 64}, ProtocolError, "the picture was changed"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(
    changes: dict[str, Any], error: type[Exception], hint: str, manifest: Path
) -> None:
    rewrite(manifest, **changes)
    with pytest.raises(error) as caught:
        read_manifest(manifest)
    assert hint in str(caught.value)


def test_a_suite_says_which_prompts_must_be_there(manifest: Path) -> None:
    read = read_manifest(manifest, suite=PROMPTS)
    assert read.suite is PROMPTS and len(read.records) == 12
    with pytest.raises(IncompleteError, match="lacks"):
        read_manifest(manifest, suite=geneval_tiny(split="test").limited(8))
    rewrite(manifest, prompt="a red circl")
    with pytest.raises(ProtocolError, match="has no prompt 'a red circl'"):
        read_manifest(manifest, suite=PROMPTS)


def test_a_prompt_without_images_or_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("\n")
    with pytest.raises(IncompleteError, match="names no image"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").write_text("[1]\n")
    with pytest.raises(UsageError, match="a list; expected a JSON object"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(UsageError, match=r"holds no manifest\.jsonl"):
        read_manifest(tmp_path)


def flat(tmp_path: Path) -> ImageSet:
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    return read_flat(tmp_path)


def test_a_flat_folder_is_read_by_name_and_its_formats_are_told(tmp_path: Path) -> None:
    images = flat(tmp_path)
    assert [r.prompt_id for r in images.records] == ["a", "b"]
    found = check_pictures(images)
    assert (found.width, found.height, found.lossy) == (8, 8, 1)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ProtocolError, match=r"a\.jpg and a\.png: two pictures of one name"):
        read_flat(tmp_path)


def test_jpeg_is_kept_as_the_pixels_it_decodes_to(tmp_path: Path) -> None:
    from bench.generation.image_set import open_image_set
    from bench.steps.imported import import_images
    from bench.store import Store

    images = flat(tmp_path)
    artifact = import_images(Store(tmp_path / "store"), images)
    stored = open_image_set(artifact)
    with Image.open(tmp_path / "a.jpg") as before, Image.open(stored.paths()[0]) as after:
        assert after.format == "PNG"
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_an_evaluator_without_an_official_layout_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat(tmp_path)
    words = ["--images", str(tmp_path), "--evaluator", "realism", "--layout", "official"]
    code = score(tmp_path / "store", *words)
    said = capsys.readouterr().err
    assert code == 2
    assert "no official folder layout" in said or "unknown evaluator" in said


STYLES = PromptSuite(
    name="styles",
    version="1",
    prompts=tuple(
        Prompt(id=f"{tag}-{k:03d}", text=f"{tag} {k}", tag=tag)
        for tag in ("anime", "photo")
        for k in range(2)
    ),
)


def test_hpsv2_s_folders_are_read_by_number_and_a_hole_is_refused(tmp_path: Path) -> None:
    for tag in STYLES.tags:
        (tmp_path / tag).mkdir()
        for k in range(2):
            Image.new("RGB", (8, 8), (k, 0, 0)).save(tmp_path / tag / f"{k:05d}.jpg")
    images = read_folder(tmp_path, evaluator="hpsv2", suite=STYLES)
    assert [r.path for r in images.records][:2] == ["anime/00000.jpg", "anime/00001.jpg"]
    assert [r.prompt_id for r in images.records] == [p.id for p in STYLES]
    (tmp_path / "photo" / "00001.jpg").rename(tmp_path / "photo" / "00002.jpg")
    with pytest.raises(ProtocolError, match=r"of no prompt of styles, e\.g\. photo/00002\.jpg"):
        read_folder(tmp_path, evaluator="hpsv2", suite=STYLES)
    (tmp_path / "photo" / "00002.jpg").unlink()
    with pytest.raises(IncompleteError, match="lacks 1 of 4"):
        read_folder(tmp_path, evaluator="hpsv2", suite=STYLES)
    with pytest.raises(UsageError, match="--suite hpdv2"):
        read_official(tmp_path)


def four_each(root: Path) -> ImageSet:
    """Four pictures of each prompt of `STYLES`, every one of a colour of its own."""
    root.mkdir()
    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    for number, prompt in enumerate(STYLES):
        for k in range(4):
            name = f"{prompt.id}-{k}.png"
            Image.new("RGB", (8, 8), (40 * number, 60 * k, 9)).save(root / name)
            files[prompt.id, k] = (name, None)
    return image_set(root, STYLES, files)


@pytest.mark.parametrize("evaluator", ["oneig", "dpg"])
def test_official_grids_are_split_into_their_tiles(evaluator: str, tmp_path: Path) -> None:
    from evaluators.dpg import folder as dpg_folder
    from evaluators.grids import PNG
    from evaluators.oneig import folder as oneig_layout

    images, grids = four_each(tmp_path / "tiles"), tmp_path / "grids"
    if evaluator == "oneig":
        oneig_layout.export_layout(images, grids, model="mine", file_format=PNG)
    else:
        dpg_folder.export_layout(images, grids)
    read = read_folder(grids, evaluator=evaluator, suite=STYLES)
    assert len(read.records) == 16
    for before, after in zip(images.paths(), read.paths(), strict=True):
        with Image.open(before) as one, Image.open(after) as other:
            difference = np.asarray(one, dtype=int) - np.asarray(other, dtype=int)
            assert abs(difference).max() <= 4  # OneIG's tiles are JPEG, as its protocol has it
    if evaluator == "oneig":
        (grids / "anime" / "other").mkdir()
        with pytest.raises(UsageError, match="mine, other"):
            read_folder(grids, evaluator=evaluator, suite=STYLES)


def test_a_geneval_folder_of_no_prompt_of_the_suite_is_refused(official: Path) -> None:
    read = read_folder(official, evaluator="geneval")
    fewer = replace(read.suite, prompts=read.suite.prompts[:5])
    with pytest.raises(ProtocolError, match="00005 is of none of them"):
        read_folder(official, evaluator="geneval", suite=fewer)


@pytest.mark.parametrize("evaluator", ["aesthetic", "deqa"])
def test_scorers_that_read_no_prompt_take_a_folder_of_pictures(
    evaluator: str, tmp_path: Path
) -> None:
    flat(tmp_path)
    read = read_folder(tmp_path, evaluator=evaluator)
    assert [(r.prompt_id, r.path) for r in read.records] == [("a", "a.jpg"), ("b", "b.png")]
    with pytest.raises(UsageError, match=r"Describe the images in .*manifest\.jsonl"):
        read_folder(tmp_path, evaluator="pickscore")


def test_an_image_set_of_another_store_is_taken_as_it_is(tmp_path: Path) -> None:
    from bench.store import Store
    from bench.tiny.truth import render_image_set

    artifact = render_image_set(Store(tmp_path / "theirs"), PROMPTS, PER_PROMPT, seed=0)
    images = read_folder(artifact.path, evaluator="geneval")
    assert images.suite.sha256 == PROMPTS.sha256
    assert len(images.records) == PER_PROMPT * len(PROMPTS)
    with pytest.raises(ProtocolError, match="Leave out --suite"):
        read_folder(artifact.path, evaluator="geneval", suite=geneval_tiny(split="validation"))
    ours = str(tmp_path / "ours")
    words = ["score", "--evaluator", "geneval", "--images", str(artifact.path), "--store", ours]
    assert main([*words, "-q"]) == 0
    next(artifact.path.rglob("*.png")).write_bytes(b"another picture")
    # nothing here can make it anew
    assert main([*words[:-1], str(tmp_path / "again"), "-q"]) == 3
    assert not list((tmp_path / "again").glob("images/*"))


OWN = """
from bench.api import Estimate, Evaluator, EvaluatorSpec, MetricSpec


class Texture(Evaluator):
    spec = EvaluatorSpec(
        name="texture-mean",
        version=1,
        metrics=(MetricSpec(name="texture", higher_is_better=True, unit="variance"),),
        backends=("texture",),
        upstream="a test",
    )

    def score(self, suite, predictions):
        return [{**record, "tag": "image"} for record in predictions["texture"].records]

    def aggregate(self, records, predictions, reference=None):
        values = [record["texture"] for record in records]
        return {"texture": Estimate(value=sum(values) / len(values), n=len(values))}


class WithFolder(Texture):
    def write_folder(self, images, root, *, previews=False):
        root.mkdir()
        for record, path in zip(images.records, images.paths(), strict=True):
            (root / f"{record.prompt_id}.png").write_bytes(path.read_bytes())

    def official_results(self, suite, predictions, records, *, root):
        return {"scores.txt": "\\n".join(str(record["texture"]) for record in records)}
"""


def test_an_evaluator_of_one_s_own_reads_any_folder_and_may_write_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_texture.py").write_text(OWN)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    flat(pictures)
    own, out = f"{tmp_path / 'own_texture.py'}:", tmp_path / "out"
    words = ["--images", str(pictures), "--any-size", "--json"]
    assert score(tmp_path / "store", "--evaluator", f"{own}Texture", *words) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["texture"]["n"] == 2
    with_folder = ["--evaluator", f"{own}WithFolder", *words]
    assert score(tmp_path / "store", "--evaluator", f"{own}Texture", *words, "--official", "x") == 2
    assert "has no official files here; geneval" in capsys.readouterr().err
    manifest = [
        json.dumps({"file": p.name, "prompt": p.stem}) for p in sorted(pictures.glob("[ab].*"))
    ]
    (pictures / "manifest.jsonl").write_text("\n".join(manifest))
    assert score(tmp_path / "store", *with_folder, "--official", str(out)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["official"] == {"folder": str(out), "results": ["scores.txt"]}
    assert sorted(p.name for p in out.iterdir()) == ["00000.png", "00001.png", "scores.txt"]
    assert len((out / "scores.txt").read_text().split()) == 2
