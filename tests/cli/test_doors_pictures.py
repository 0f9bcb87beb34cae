"""Pictures whose pixels are not what they seem, by the command line; and EXIF under FID."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from bench.cli import main
from bench.store import Store
from tests.cli.test_doors import Said, aesthetic, said, score
from tests.read.bring import halves, picture, pictures, turned

__all__ = ["said"]  # a fixture


def tiff_of_16_bits(path: Path, side: int = 32) -> None:
    """A TIFF with three samples of 16 bits, little end first, written by hand."""
    pixels = np.random.default_rng(0).integers(0, 1 << 16, (side, side, 3)).astype("<u2").tobytes()
    entries = ((256, side), (257, side), (258, 0), (259, 1), (262, 2), (273, 0), (277, 3))
    entries = (*entries, (278, side), (279, len(pixels)))
    behind = 8 + 2 + 12 * len(entries) + 4
    told = b"II*\0" + struct.pack("<IH", 8, len(entries))
    for tag, value in entries:
        long = tag in (273, 279)
        count = 3 if tag == 258 else 1
        value = behind if tag == 258 else behind + 6 if tag == 273 else value
        told += struct.pack("<HHI", tag, 4 if long else 3, count) + struct.pack("<I", value)
    path.write_bytes(told + struct.pack("<I", 0) + struct.pack("<3H", 16, 16, 16) + pixels)


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_a_file_whose_rest_is_zeros_is_broken(ending: str, tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "fetched"
    folder.mkdir()
    noise = Image.effect_noise((256, 256), 80).convert("RGB")
    noise.save(folder / f"a.{ending}", quality=90)
    whole = (folder / f"a.{ending}").read_bytes()
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 0
    (folder / f"a.{ending}").write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    said()
    assert aesthetic(tmp_path, folder, "--size", "256x256") == 1
    told = said()
    assert f"a.{ending}: broken: the " in told and "is another --profile meant" not in told


def test_a_thumbnail_inside_a_jpeg_is_not_its_end(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "thumbs"
    folder.mkdir()
    picture(2).save(folder / "thumb.jpg", quality=30)
    inner = (folder / "thumb.jpg").read_bytes()
    (folder / "thumb.jpg").unlink()
    Image.effect_noise((128, 128), 80).convert("RGB").save(folder / "a.jpg", quality=90)
    whole = (folder / "a.jpg").read_bytes()
    segment = b"\xff\xe2" + (len(inner) + 2).to_bytes(2, "big") + inner
    whole = whole[:2] + segment + whole[2:]
    (folder / "a.jpg").write_bytes(whole + b"\0" * 4096)  # cameras fill blocks
    assert aesthetic(tmp_path, folder, "--size", "128x128") == 0, said()
    (folder / "a.jpg").write_bytes(whole[: len(whole) * 2 // 3].ljust(2 * len(whole), b"\0"))
    assert aesthetic(tmp_path, folder, "--size", "128x128") == 1
    assert "the JPEG does not end" in said()


def test_what_is_left_out_of_pixels_is_said(tmp_path: Path, said: Said) -> None:
    folder = pictures(tmp_path / "mine", 2)
    tiff_of_16_bits(folder / "deep.tif")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(5).save(folder / "wide.png", icc_profile=lab)
    picture(6).save(folder / "plain.png", icc_profile=srgb)
    picture(0).save(folder / "00000 (1).png", format="PNG")
    assert aesthetic(tmp_path, folder, "-q") == 0
    told = said()
    assert "1 of 6 pictures are of 16 bits, the upper 8 taken: deep.tif" in told
    assert "1 of 6 pictures are of another colour space than sRGB (Lab" in told
    assert "and are not converted: wide.png" in told
    assert "1 of 6 pictures are copies of another one (00000.png); each counts" in told


def test_colours_that_are_no_rgb_say_so(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    picture(1).convert("LAB").save(folder / "a.tif")
    assert aesthetic(tmp_path, folder) == 1
    assert "colours of mode LAB; save it as RGB" in said()


@pytest.mark.parametrize("name", ["images.zip", "a.png"])
def test_a_file_in_place_of_a_folder_is_called_one(name: str, tmp_path: Path, said: Said) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    assert aesthetic(tmp_path, tmp_path / name) == 2
    assert f"{name} is a file; expected a folder of pictures (unpack an archive" in said()


def test_fid_measures_photographs_as_they_are_stored(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytorch-fid and clean-fid turn nothing, so a turned file is to FID what its pixels are."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    plain, exif, both = (tmp_path / name for name in ("plain", "exif", "both"))
    for folder in (plain, exif, both):
        pictures(folder, 3)
    Image.fromarray(halves()).save(plain / "x.png")
    turned(exif / "x.png")
    turned(both / "x.png")
    words = ["--protocol", "tiny-features", "--keep-features"]
    for name, folder in (("plain", plain), ("exif", exif)):
        build = ["assets", "build", "--fid-reference", name, "--images", str(folder), *words]
        assert main(build) == 0
        told = said()
        assert ("1 of 4 pictures (x.png) are turned by their EXIF" in told) == (name == "exif")
    references = tmp_path / "cache" / "references"
    from evaluators.fid.reference_stats import read_reference

    made, other = (read_reference(references / f"{n}.safetensors") for n in ("plain", "exif"))
    assert np.array_equal(made.mean, other.mean)
    for evaluator in ("fid", "kid"):
        ask = ["--evaluator", evaluator, "--images", str(both), "--reference", "plain"]
        assert score(tmp_path / "store", *ask) == 0
        told = said()
        assert "1 of 4 pictures are stored as EXIF turns them, and measured as they are" in told
    (images,) = Store(tmp_path / "store").artifacts("images")
    with Image.open(images.file("images/x-0.png")) as stored:
        assert np.array_equal(np.asarray(stored), halves()) and 0x0112 not in stored.getexif()
    assert aesthetic(tmp_path, both) == 0
    assert "turned upright" in said()
    assert len(list(Store(tmp_path / "store").artifacts("images"))) == 2
