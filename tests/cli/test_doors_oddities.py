"""Pictures that are read and are not what one expects: of one colour, of other colours, masks."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from bench.cli import main
from bench.data.labels import checked_rows, read_comparisons
from bench.data.readers import ImageReader
from tests.cli.test_doors import Said, aesthetic, curated, said
from tests.read.bring import SIDE, picture, pictures

__all__ = ["said"]  # a fixture


def flat(path: Path) -> None:
    """What a safety checker leaves."""
    Image.new("RGB", (SIDE, SIDE)).save(path)


def bmp_of_5_bits(path: Path) -> None:
    """A BMP of 16 bits a pixel, written by hand."""
    pixels = np.random.default_rng(0).integers(0, 255, 2 * SIDE * SIDE, np.uint8).tobytes()
    sizes = struct.pack("<IIIIII", 0, len(pixels), 0, 0, 0, 0)
    head = struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + struct.pack("<Iii", 40, SIDE, SIDE)
    path.write_bytes(b"BM" + head + struct.pack("<HH", 1, 16) + sizes + pixels)


def with_chunk(path: Path, name: bytes, data: bytes) -> None:
    """A PNG that says something of its colours."""
    told = PngImagePlugin.PngInfo()
    told.add(name, data)
    picture(7).save(path, pnginfo=told)


def test_pictures_of_one_colour_are_counted_by_every_reader(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path / "mine", 2)
    flat(folder / "z.png")
    told = "1 of 3 pictures are of one colour, as safety checkers and NaN leave them; each counts"
    assert aesthetic(tmp_path, folder, "-q") == 0
    assert f"{told}: z.png" in said()
    build = ["--images", str(folder), "--protocol", "tiny-features"]
    assert main(["assets", "build", "--fid-reference", "mine", *build]) == 0
    assert f"{told}: z.png" in said()


def test_pictures_of_one_colour_among_labelled_pairs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = pictures(tmp_path, 2)
    flat(folder / "z.png")
    table = folder / "pairs.csv"
    table.write_text("caption,winner,loser\na,00000.png,00001.png\nb,00000.png,z.png\n")
    rows, _ = read_comparisons([table])
    checked_rows(rows, ImageReader())
    assert "1 of 4 pictures are of one colour" in caplog.text and "z.png" in caplog.text


def test_what_a_file_says_of_its_colours_is_said(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 1)
    with_chunk(folder / "linear.png", b"gAMA", struct.pack(">I", 100_000))
    with_chunk(folder / "usual.png", b"gAMA", struct.pack(">I", 45_455))
    with_chunk(folder / "hdr.png", b"cICP", bytes((9, 16, 0, 1)))
    with_chunk(folder / "same.png", b"cICP", bytes((1, 13, 0, 1)))
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    picture(8).save(folder / "camera.jpg", exif=exif)
    bmp_of_5_bits(folder / "short.bmp")
    assert aesthetic(tmp_path, folder, "-q") == 0
    told = said()
    assert "3 of 7 pictures are of another colour space than sRGB (" in told
    for space in ("Adobe RGB, by EXIF", "cICP 9/16", "gAMA 1"):
        assert space in told
    assert "camera.jpg, hdr.png, linear.png" in told
    assert "1 of 7 pictures are of 5 or 6 bits a colour, not of 8: short.bmp" in told


def test_masks_beside_pictures_are_said(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = pictures(tmp_path / "mine", 2)
    pictures(folder, 2, name=lambda n: f"{n:05d}_mask.png")
    picture(5).save(folder / "00000-1.png")
    assert aesthetic(tmp_path, folder, "-q") == 0
    told = "2 of 5 pictures are named as another one with _mask behind it (00000_mask, 00001_mask)"
    assert (out := said()).count("behind it") == 1 and told in out
    build = ["--images", str(folder), "--protocol", "tiny-features"]
    assert main(["assets", "build", "--fid-reference", "mine", *build]) == 0
    assert told in said()


def test_loss_is_told_by_what_is_in_the_file(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    picture(1).save(folder / "a.webp", lossless=True)
    picture(2).save(folder / "b.tif", compression="tiff_lzw")
    assert aesthetic(tmp_path, folder, "-q") == 0
    assert "stored with loss" not in said()
    picture(3).save(folder / "c.webp")
    picture(4).save(folder / "d.tif", compression="jpeg")
    assert aesthetic(tmp_path, folder, "-q") == 0
    assert "2 of 4 images are stored with loss" in said()


def test_curation_says_copies_and_notes_odd_pictures(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "photos", 3)
    rows = ["x,00000.png,a", "y,00000.png,b", "z,00001.png,c", "copy,copy.png,d", "flat,f.png,e"]
    (folder / "captions.csv").write_text("\n".join(["uid,file,caption", *rows]))
    (folder / "copy.png").write_bytes((folder / "00001.png").read_bytes())
    flat(folder / "f.png")
    found = curated(tmp_path, folder, "-q")
    assert found["y"] == "b" and found["copy"] == "d"
    assert "2 of 6 images are copies of another one (y, copy); each counts" in said()
