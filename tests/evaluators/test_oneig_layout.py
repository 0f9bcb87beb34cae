"""Grids of OneIG-Bench and DPG-Bench in and out, and their prompt files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.api import (
    ImageRecord,
    ImageSet,
    IncompleteError,
    PrerequisiteError,
    Prompt,
    PromptSuite,
    ProtocolError,
    StoreError,
    UsageError,
)
from evaluators.dpg import folder as dpg_folder
from evaluators.dpg import prompts as dpg_prompts
from evaluators.grids import JPEG_DEFAULT, PNG, WEBP_DEFAULT, FileFormat, paste, split
from evaluators.models.tile_check import TileCheck
from evaluators.oneig import folder as oneig_layout
from evaluators.oneig import prompts as oneig_prompts
from evaluators.oneig.rules import is_black

SUITE = PromptSuite(
    name="two",
    version="1",
    prompts=tuple(Prompt(id=i, text=i) for i in ("anime-000", "text-012")),
)
LOSSLESS = FileFormat(ending="webp", lossless=True)


def picture(seed: int, side: int = 24) -> Image.Image:
    low = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(low).resize((side, side), Image.Resampling.BICUBIC)


def image_set(root: Path, suite: PromptSuite = SUITE, images: int = 4) -> ImageSet:
    root.mkdir(parents=True, exist_ok=True)
    records = []
    for number, prompt in enumerate(suite):
        for k in range(images):
            path = f"{number}-{k}.png"
            picture(10 * number + k).save(root / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=k, path=path, sha256="", seed=0)
            )
    return ImageSet(root=root, suite=suite, images_per_prompt=images, records=tuple(records))


def pixels(images: ImageSet) -> np.ndarray:
    return np.stack([np.asarray(Image.open(p).convert("RGB")) for p in images.paths()]).astype(int)


def test_paste_and_split_are_inverse_for_every_grid() -> None:
    tiles = [picture(i) for i in range(6)]
    for columns, rows in ((2, 3), (3, 2), (6, 1), (1, 6)):
        again = split(paste(tiles, columns=columns, rows=rows), columns=columns, rows=rows)
        assert all(np.array_equal(a, b) for a, b in zip(tiles, again, strict=True))
    holes = split(paste(tiles[:3], columns=2, rows=2), columns=2, rows=2)
    assert not np.asarray(holes[3]).any()
    odd = split(picture(0, 25), columns=2, rows=2)
    assert {tile.size for tile in odd} == {(12, 12)}
    with pytest.raises(UsageError, match="7 images for a grid of 2 x 3"):
        paste([*tiles, tiles[0]], columns=2, rows=3)
    with pytest.raises(UsageError, match="different sizes"):
        paste([picture(0), picture(0, 30)], columns=2, rows=1)


def test_the_layout_without_losses_gives_the_same_pixels(tmp_path: Path) -> None:
    images = image_set(tmp_path / "in")
    root = oneig_layout.export_layout(images, tmp_path / "out", model="m", file_format=LOSSLESS)
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*.webp")) == [
        "anime/m/000.webp",
        "text/m/012.webp",
    ]
    again = oneig_layout.import_layout(
        root, tmp_path / "tiles", suite=SUITE, model="m", tile_format=PNG
    )
    assert np.array_equal(pixels(again), pixels(images))
    assert [r.key for r in again.records] == [r.key for r in images.records]
    again.require_complete()


def test_the_official_losses_can_be_seen_and_have_names(tmp_path: Path) -> None:
    images = image_set(tmp_path / "in")
    root = oneig_layout.export_layout(images, tmp_path / "out", model="m")
    found = [
        oneig_layout.import_layout(root, tmp_path / f.ending, suite=SUITE, model="m", tile_format=f)
        for f in (PNG, JPEG_DEFAULT)
    ]
    once, twice = (np.abs(pixels(f) - pixels(images)).mean() for f in found)
    assert 0 < once < twice < 30
    assert found[0].identity != found[1].identity
    # the defaults are PIL's own
    picture(3).save(tmp_path / "pil.webp")
    WEBP_DEFAULT.save(picture(3), tmp_path / "ours.webp")
    assert (tmp_path / "pil.webp").read_bytes() == (tmp_path / "ours.webp").read_bytes()
    picture(3).save(tmp_path / "pil.jpg")
    JPEG_DEFAULT.save(picture(3), tmp_path / "ours.jpg")
    assert (tmp_path / "pil.jpg").read_bytes() == (tmp_path / "ours.jpg").read_bytes()


def test_missing_images_become_black_tiles_that_are_seen(tmp_path: Path) -> None:
    images = image_set(tmp_path / "in", images=3)
    root = oneig_layout.export_layout(images, tmp_path / "out", model="m", file_format=PNG)
    for ending in ("png", "jpg"):
        tiles = oneig_layout.import_layout(
            root, tmp_path / ending, suite=SUITE, model="m",
            tile_format=PNG if ending == "png" else JPEG_DEFAULT,
        )  # fmt: skip
        largest = [r["largest"] for r, _ in TileCheck().predict(tiles, {})]
        assert [is_black(v) for v in largest] == [k % 4 == 3 for k in range(8)]


def test_bad_layouts_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    images = image_set(tmp_path / "in")
    root = oneig_layout.export_layout(images, tmp_path / "out", model="m", file_format=PNG)
    target = tmp_path / "tiles"

    def read(model: str = "m") -> ImageSet:
        return oneig_layout.import_layout(root, target, suite=SUITE, model=model)

    with pytest.raises(StoreError, match="exists already"):
        oneig_layout.export_layout(images, root, model="m")
    with pytest.raises(IncompleteError, match="2 of 2 prompts have no grid: anime-000, text-012"):
        read("other")
    (root / "text/m/012 (1).png").write_bytes((root / "text/m/012.png").read_bytes())
    with pytest.raises(ProtocolError, match="text-012 has several grids"):
        read()
    (root / "text/m/012 (1).png").unlink()
    (root / "text/m/012.png").write_bytes(b"no picture")
    with pytest.raises(ProtocolError, match=r"012\.png: broken: no picture of a known kind"):
        read()
    assert not target.exists() and not list(tmp_path.glob("*.partial"))
    with pytest.raises(UsageError, match="no folder"):
        oneig_layout.import_layout(tmp_path / "no", target, suite=SUITE, model="m")
    strange = PromptSuite(name="x", version="1", prompts=(Prompt(id="7", text="7"),))
    with pytest.raises(UsageError, match="anime-007"):
        oneig_layout.grid_names(strange, "m")


def test_file_formats_that_mean_nothing_are_refused() -> None:
    for wrong in (
        {"ending": "gif"},
        {"ending": "jpg"},
        {"ending": "png", "quality": 75},
        {"ending": "webp", "quality": 80, "lossless": True},
        {"ending": "png", "lossless": True},
    ):
        with pytest.raises(UsageError):
            FileFormat(**wrong)


def test_dpg_grids(tmp_path: Path) -> None:
    suite = PromptSuite(name="one", version="1", prompts=(Prompt(id="partiprompts0", text="a"),))
    images = image_set(tmp_path / "in", suite)
    root = dpg_folder.export_layout(images, tmp_path / "out")
    again = dpg_folder.import_layout(root, tmp_path / "four", suite=suite, resolution=24)
    assert np.array_equal(pixels(again), pixels(images))
    one = dpg_folder.import_layout(
        root, tmp_path / "one", suite=suite, resolution=24, images_per_prompt=1
    )
    assert np.array_equal(pixels(one)[0], pixels(images)[0]) and len(one.records) == 1
    with pytest.raises(ProtocolError, match="48 x 48 pixels; expected 2 x 2 tiles of 32 x 32"):
        dpg_folder.import_layout(root, tmp_path / "wrong", suite=suite, resolution=32)


DPG_CSV = """item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,\
tuple,question_natural_language
a,"a cat, red",,1,0,entity,whole,entity - whole (cat),Is there a cat?
a,"a cat, red",,2,1,attribute,color,"attribute - color (cat, red)",Is the cat red?
b,"two
lines",,1,0,entity,whole,entity - whole (dog),Is there a dog?
b,"two
lines",,2,"0, 1",entity,whole,entity - whole (tail),Is there a tail?
"""


def test_dpg_prompts_lose_the_first_question_as_upstream(tmp_path: Path) -> None:
    path = tmp_path / "dpg.csv"
    path.write_text(DPG_CSV)
    faithful = dpg_prompts.read_official(path, prompts=2)
    assert [p.id for p in faithful] == ["a", "b"] and faithful.prompts[1].text == "two\nlines"
    assert faithful.prompts[0].meta["questions"] == {"2": "Is the cat red?"}
    assert faithful.prompts[1].meta["parents"] == {"1": [0], "2": [0, 1]}
    whole = dpg_prompts.read_official(path, drop_first=False, prompts=None)
    assert list(whole.prompts[0].meta["questions"]) == ["1", "2"]
    assert whole.version != faithful.version
    with pytest.raises(ProtocolError, match="has 2 prompts, expected 1065"):
        dpg_prompts.official_suite(str(path))
    path.write_text(DPG_CSV.replace(",2,1,", ",1,1,"))
    with pytest.raises(UsageError, match="row 3: question 1 of a is there twice"):
        dpg_prompts.read_official(path, drop_first=False, prompts=None)
    path.write_text("item_id,text\n")
    with pytest.raises(UsageError, match="lacks the columns dependency"):
        dpg_prompts.read_official(path)
    with pytest.raises(PrerequisiteError, match="git clone"):
        dpg_prompts.read_official(tmp_path / "no.csv")


def write_oneig(folder: Path) -> Path:
    """Write a small repository with made-up prompts in the official files' form."""
    files = {
        "OneIG-Bench.csv": "category,id,prompt_en,type,prompt_length,class\n"
        'Anime_Stylization,000,"a fox, ink",NP,short,Line Art\n'
        "Anime_Stylization,001,a hen,NP,short,\n"
        "Text_Rendering,000,a sign,NP,short,\n"
        "Knowledge_Reasoning,000,why?,NP,long,physics\n",
        "scripts/style/style.csv": ",id,class\n0,000,Line Art\n1,001,\n",
        "scripts/text/text_content.csv": ",id,prompt_en,text_content\n"
        "0,000,x,\"['OPEN', '24/7']\"\n",
        "scripts/reasoning/gt_answer.json": json.dumps({"000": "because"}),
    }
    graph = {"question": '{"1": "Is there a fox?"}', "dependency": '{"1": [0]}'}
    for name in ("anime", "human", "object"):
        found = {"000": graph} if name == "anime" else {}
        files[f"scripts/alignment/Q_D/{name}.json"] = json.dumps(found)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_oneig_prompts(tmp_path: Path) -> None:
    folder = write_oneig(tmp_path)
    suite = oneig_prompts.read_official(folder, pinned=False)
    assert [p.id for p in suite] == ["anime-000", "text-000", "reasoning-000"]
    fox, sign, why = suite.prompts
    assert fox.meta["questions"] == {"1": "Is there a fox?"} and fox.meta["parents"] == {"1": [0]}
    assert fox.meta["style"] == "line_art" and fox.text == "a fox, ink"
    assert sign.meta["text"] == "['OPEN', '24/7']" and why.meta["answer"] == "because"
    assert "NC" in suite.licence
    style = oneig_prompts.read_official(folder, dimensions=["style"], pinned=False)
    assert [p.id for p in style] == ["anime-000"] and "questions" not in style.prompts[0].meta
    assert style.name == "oneig-en-style"
    with pytest.raises(ProtocolError, match="take the file of commit 41b4983"):
        oneig_prompts.official_suite(str(folder))
    with pytest.raises(UsageError, match="unknown language 'DE'"):
        oneig_prompts.read_official(folder, "DE")
    with pytest.raises(UsageError, match="Did you mean 'style'"):
        oneig_prompts.read_official(folder, dimensions=["stile"])
    with pytest.raises(PrerequisiteError, match=r"OneIG-Bench-ZH\.csv|anime_zh"):
        oneig_prompts.read_official(folder, "ZH")
