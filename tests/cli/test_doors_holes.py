"""Files of which a part never came, and texts that could be read in several ways."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from bench.read.holes import jpeg_hole
from bench.read.rasters import BLOCK
from tests.cli.test_doors import Said, aesthetic, curated, said
from tests.read.bring import picture, pictures

__all__ = ["said"]  # a fixture

SIDE = 256


def photo(path: Path, *, size: int = SIDE, **how: object) -> bytes:
    """A picture of noise beside a white half, as a file; its bytes are returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = Image.new("RGB", (size, size), "white")
    page.paste(Image.effect_noise((size // 2, size), 80).convert("RGB"), (0, 0))
    page.save(path, **how)
    return path.read_bytes()


def holed(whole: bytes, at: int, length: int = 1024) -> bytes:
    return whole[:at] + bytes(length) + whole[at + length :]


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("jpg", {}),
        ("jpg", {"optimize": True}),
        ("jpg", {"progressive": True, "quality": 95}),
        ("jpg", {"subsampling": 0}),
        ("webp", {"quality": 90}),
        ("tif", {"compression": "jpeg"}),
    ],
)
def test_zeros_inside_a_picture_are_damage(
    ending: str, how: dict[str, object], tmp_path: Path, said: Said
) -> None:
    folder = tmp_path / "fetched"
    whole = photo(folder / f"a.{ending}", **how)
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 0
    (folder / f"a.{ending}").write_bytes(holed(whole, len(whole) // 2))
    with Image.open(folder / f"a.{ending}") as file:
        file.load()  # the decoder sees nothing wrong
    said()
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 1
    told = said()
    assert f"a.{ending}: broken: zeros in place of its pixels from byte" in told
    pictures(folder, 1)
    (folder / f"a.{ending}").rename(folder / f"b.{ending}")
    (folder / "b.txt").write_text("a red circle")
    assert "broken: zeros in place of its pixels" in curated(tmp_path, folder)["b"]


@pytest.mark.parametrize(
    ("ending", "how", "at", "hint"),
    [
        ("webp", {"lossless": True}, 0.5, "zeros in place of its pixels from byte"),
        ("tif", {"compression": "packbits"}, 0.5, "zeros in place of its pixels from byte"),
        ("tif", {"compression": "tiff_lzw"}, 0.5, "zeros in place of its pixels from byte"),
        ("tif", {"compression": "tiff_deflate"}, 0.5, "its check sum is not that of its pixels"),
        ("tif", {"compression": "raw"}, 8 * BLOCK, f"from byte {8 * BLOCK} on"),
        ("bmp", {}, 8 * BLOCK, f"from byte {8 * BLOCK} on"),
    ],
)
def test_zeros_inside_pixels_that_no_decoder_looks_at(
    ending: str, how: dict[str, object], at: float, hint: str, tmp_path: Path, said: Said
) -> None:
    folder = tmp_path / "fetched"
    whole = photo(folder / f"a.{ending}", **how)
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 0
    place = int(at * len(whole)) if at < 1 else int(at)
    (folder / f"a.{ending}").write_bytes(holed(whole, place, BLOCK))
    said()
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 1
    assert hint in said()
    (folder / "a.txt").write_text("a red circle")
    assert hint in curated(tmp_path, folder)["a"]


def test_black_where_pixels_lie_as_they_are_is_black(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(20):
        page = Image.new("RGB", (SIDE, SIDE))
        page.paste(picture(number, (40, 60 + number)), (30 + number, 50))
        page.save(folder / f"{number}.{('bmp', 'tif')[number % 2]}")
    Image.new("RGB", (SIDE, SIDE)).save(folder / "black.bmp")
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 0, said()


def test_holes_are_found_wherever_they_are_and_only_there(tmp_path: Path) -> None:
    rng = random.Random(0)
    ways: list[dict[str, object]] = [{}, {"optimize": True}, {"progressive": True}]
    found = 0
    for how in ways:
        whole = photo(tmp_path / "a.jpg", size=512, **how)
        assert jpeg_hole(whole) is None
        for _ in range(20):
            at = rng.randrange(1200, len(whole) - 1100)
            found += jpeg_hole(holed(whole, at)) is not None
    assert found >= 57  # of 60: what refines flat blocks may be zeros


@pytest.mark.parametrize("how", [{}, {"optimize": True}, {"progressive": True}])
def test_flat_pictures_are_whole(how: dict[str, object], tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for colour in ("white", "black", "#7f7f7f", "red"):
        Image.new("RGB", (2048, 2048), colour).save(folder / f"{colour[-3:]}.jpg", **how)
    if how.get("optimize"):  # codes fitted to one colour: its blocks are zeros alone
        assert bytes(512) in (folder / "ite.jpg").read_bytes()
    assert aesthetic(tmp_path, folder, "--size", "2048x2048") == 0, said()


def test_a_text_of_several_lines_is_no_caption(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", 5)
    texts = [
        "a red circle\n",
        "a red circle\na circle that is red\n",
        "\n\n  a red  circle \r\n\u200b\n",
        "a red circle\r\n\r\ncircle, red, masterpiece",
        "a red circle\rcircle",
    ]
    for number, text in enumerate(texts):
        (folder / f"{number:05d}.txt").write_bytes(text.encode())
    picture(9).save(folder / "00009.png")
    found = list(curated(tmp_path, folder).values())
    assert found[0] == found[2] == "a red circle"
    assert found[1] == found[3] == "no caption: 2 lines in its text; keep the one that is meant"
    assert "a carriage return inside the line" in found[4]
